//! What is printed becomes events: in a child, whose outputs are its own. This binary starts itself again.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use std::io::Write;
use std::process::Command;
use std::sync::Arc;

use ropewalk_app::Clock;
use ropewalk_app::log::{Level, Levels, Printed, Publisher, RingObserver, redirect_output};

/// Set, this is the child.
const CHILD: &str = "ROPEWALK_TEST_PRINTED_CHILD";

/// Not a test of its own: what the child does.
#[test]
fn the_child_prints() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let publisher = Publisher::new(Clock::system(), Levels::default());
    let ring = Arc::new(RingObserver::new(100));
    publisher.add(Arc::clone(&ring));
    writeln!(std::io::stdout(), "before").unwrap();
    let redirected = redirect_output(&publisher).unwrap();
    // Past the harness, which catches what `println!` prints.
    writeln!(std::io::stdout(), "one\ntwo").unwrap();
    writeln!(std::io::stderr(), "trouble").unwrap();
    writeln!(redirected.standard_error().unwrap(), "last words").unwrap();
    // What other programs print, to whom we gave our outputs.
    assert!(Command::new("sh").args(["-c", "echo child; printf 'no end'"]).status().unwrap().success());
    writeln!(std::io::stdout(), "{}", "x".repeat(20_000)).unwrap();
    drop(redirected);
    writeln!(std::io::stdout(), "after").unwrap();
    let told: Vec<_> = ring.events();
    let of = |printed| told.iter().filter(move |event| event.printed == Some(printed));
    let printed: Vec<_> = of(Printed::Output).map(|event| event.message().into_owned()).collect();
    assert_eq!(printed[..3], ["one", "two", "child"]);
    // A line that is too long is several, and nothing of it is lost.
    assert_eq!(printed[3..].concat(), format!("no end{}", "x".repeat(20_000)));
    assert_eq!(printed.len(), 5);
    assert!(of(Printed::Output).all(|event| (event.level, &*event.namespace) == (Level::Info, "stdout")));
    let errors: Vec<_> =
        of(Printed::Error).map(|event| (event.level, event.message().into_owned())).collect();
    assert_eq!(errors, [(Level::Error, "trouble".to_owned())]);
}

#[test]
fn what_is_printed_becomes_events_and_then_the_outputs_are_as_before() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_prints", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("before\n") && stdout.contains("after\n"), "{stdout}");
    assert!(!stdout.contains("one") && !stderr.contains("trouble"), "{stdout}{stderr}");
    assert!(stderr.contains("last words\n"), "{stderr}");
}
