//! Runs the scenarios one after the other, prints each table when it is there, and writes the JSON at the end.

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::json;

use crate::scenario::Scenario;
use crate::wrk::Wrk;
use crate::{SuiteArgs, foreign, library, machine, servers};

/// Everything that was asked for.
pub(crate) fn run(arguments: &SuiteArgs) -> io::Result<()> {
    for name in &arguments.only {
        let is_known =
            foreign::NAMES.contains(&name.as_str()) || library::WORKS.iter().any(|work| work.library == name);
        if !is_known {
            servers::named(name)?;
        }
    }
    let scenarios = match arguments.scenarios.as_slice() {
        [] => Scenario::value_variants(),
        named => named,
    };
    // Said before the first minute is spent.
    if scenarios.iter().any(|scenario| scenario.needs_wrk()) {
        Wrk::find()?;
    }
    let arguments = &on_two_cores(arguments);
    for core in [arguments.server_core, arguments.load_core] {
        if !machine::has(core) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("core {core} cannot be had here"),
            ));
        }
    }
    machine::raise_descriptor_limit();

    // Before this process stays on one core, or it would count only that one.
    let (machine, settings) = (machine::describe(), settings(arguments));
    let mut out = io::stdout();
    writeln!(out, "# Ropewalk beside its peers\n\n{machine}; {settings}")?;
    machine::pin(&[arguments.load_core])?;
    let mut results = Vec::new();
    for scenario in scenarios {
        let name = scenario.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        eprintln!("{name}");
        match scenario.run(arguments)? {
            Some(section) => {
                write!(out, "{}", section.markdown())?;
                out.flush()?;
                results.push(section.json());
            }
            None => eprintln!("  no server takes part in `{name}`"),
        }
    }
    if let Some(path) = &arguments.json {
        let value = json!({ "machine": machine, "settings": settings, "scenarios": results });
        std::fs::write(path, format!("{value:#}\n"))?;
    }
    Ok(())
}

/// A machine with one core can try it out; its figures are not worth keeping.
fn on_two_cores(arguments: &SuiteArgs) -> SuiteArgs {
    let mut arguments = arguments.clone();
    if machine::count() < 2 {
        eprintln!("only one core: server and load share it, and disturb each other");
        arguments.load_core = arguments.server_core;
    }
    arguments
}

fn settings(arguments: &SuiteArgs) -> String {
    let SuiteArgs { rounds, seconds, server_core, load_core, .. } = arguments;
    format!(
        "{rounds} rounds of {seconds} s, interleaved; server on core {server_core}, load on core {load_core}"
    )
}
