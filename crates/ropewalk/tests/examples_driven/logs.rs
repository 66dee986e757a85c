//! What the example logs, and what its observers make of it.

use ropewalk::app::log::{self, Level, Levels, Publisher, capture_from};

use crate::logging;

#[test]
fn levels_change_between_two_words_of_one_place() {
    let levels = Levels::default();
    let ((), logged) = capture_from(&levels, || logging::trade(&levels));
    let told: Vec<_> = logged
        .iter()
        .map(|event| format!("{} {} {}", event.namespace, event.level, event.message()))
        .collect();
    assert_eq!(
        told,
        [
            "shop info ada bought 3 ropes",
            "shop::till debug the drawer is open",
            "program error no receipt could be printed"
        ]
    );
    assert!(logged[2].trouble.as_ref().unwrap().traceback.contains("logging.rs:"));
}

#[test]
fn its_file_has_the_events_again() {
    let file = std::env::temp_dir().join(format!("ropewalk-logging-{}.json", std::process::id()));
    let publisher = Publisher::default();
    let story = log::with(&publisher, || logging::story(&publisher, &file));
    let _ = std::fs::remove_file(&file);
    let (troubles, read) = story.unwrap();
    assert_eq!((troubles, read.len()), (1, 4));
    assert_eq!((read[0].message(), read[0].level), ("the shop opens".into(), Level::Info));
    assert_eq!(read[1].field("count").and_then(|count| count.as_u64()), Some(3));
    assert_eq!(read[3].trouble.as_ref().map(|trouble| &*trouble.text), Some("out of paper"));
}
