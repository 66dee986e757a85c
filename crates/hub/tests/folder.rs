//! A folder that publishes: which changes of its files are told to hubs, when, and how often. The disk is real, the clock is not.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::*;
use ropewalk_hub::{FolderOptions, FolderPublisher, Herald, HubOptions, Names, advertise_pages, parse_links};
use ropewalk_net::listen;
use ropewalk_reactor::Simulation;
use ropewalk_web::client::Agent;
use ropewalk_web::{Arguments, Files, Handler, Response, Site};

/// A folder of its own, removed with what is in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ropewalk-hub-folder-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A folder, a hub that is pinged, and what looks at the one and pings the other.
struct Scene {
    folder: Folder,
    hub: Host,
    herald: Herald,
    publisher: FolderPublisher,
    simulation: Simulation,
}

impl Scene {
    fn new(names: Names, files: &[&str]) -> Scene {
        let folder = Folder::new();
        for name in files {
            folder.write(name, "first");
        }
        let simulation = Simulation::new(5);
        let hub = host(&simulation, "pinged.test", "11.4.0.1", |_| Response::empty(204));
        let herald = Herald::new(&Agent::new(simulation.reactor()), ["http://pinged.test/hub"]);
        let options = FolderOptions { url: "http://pub.test/".to_owned(), names, ..FolderOptions::default() };
        let publisher =
            FolderPublisher::start(simulation.reactor(), herald.clone(), folder.0.clone(), options);
        let scene = Scene { folder, hub, herald, publisher, simulation };
        assert_eq!(scene.pinged(), [""; 0], "what is there at the beginning has not changed");
        assert_eq!((scene.publisher.statistics().looks > 1, scene.publisher.is_well()), (true, true));
        scene
    }

    /// What was pinged since the last call, after a while.
    fn pinged(&self) -> Vec<String> {
        let before = self.hub.seen().len();
        self.simulation.advance(10 * SECOND);
        topics(&self.hub.seen()[before..])
    }
}

fn topics(seen: &[Seen]) -> Vec<String> {
    let topic = |seen: &Seen| {
        let form = Arguments::read(&seen.body);
        assert_eq!(form.first("hub.mode"), Some("publish"));
        assert_eq!(form.first("hub.url"), form.first("hub.topic"));
        form.first("hub.url").unwrap().strip_prefix("http://pub.test").unwrap().to_owned()
    };
    seen.iter().map(topic).collect()
}

#[test]
fn p05_a_page_that_changed_came_or_went_is_told_once() {
    let scene = Scene::new(Names::default(), &["index.html", "feed.atom", "picture.png", "a/b/index.html"]);
    assert_eq!(scene.publisher.statistics().pages, 3);
    scene.folder.write("feed.atom", "second one");
    assert_eq!(scene.pinged(), ["/feed.atom"]);
    scene.folder.write("index.html", "second one");
    scene.folder.write("a/b/index.html", "second one");
    assert_eq!(scene.pinged(), ["/", "/a/b/", "/a/b/index.html", "/index.html"]);
    scene.folder.write("new folder/new.xml", "new");
    assert_eq!(scene.pinged(), ["/new%20folder/new.xml"]);
    fs::remove_file(scene.folder.0.join("feed.atom")).unwrap();
    assert_eq!(scene.pinged(), ["/feed.atom"]);
    fs::remove_dir_all(scene.folder.0.join("new folder")).unwrap();
    assert_eq!(scene.pinged(), ["/new%20folder/new.xml"]);
    fs::rename(scene.folder.0.join("a"), scene.folder.0.join("c")).unwrap();
    assert_eq!(scene.pinged(), ["/a/b/", "/a/b/index.html", "/c/b/", "/c/b/index.html"]);
    assert_eq!(scene.pinged(), [""; 0], "nothing more has happened");
}

#[test]
fn what_is_no_page_or_not_served_is_not_told() {
    let scene = Scene::new(Names::default(), &["picture.png", ".hidden.html", ".git/index.html"]);
    for name in ["picture.png", ".hidden.html", ".git/index.html", "style.css"] {
        scene.folder.write(name, "another one");
    }
    assert_eq!(scene.pinged(), [""; 0]);
    let scene = Scene::new(Names { listing: true, hidden: true, ..Names::default() }, &["a/picture.png"]);
    scene.folder.write("a/picture.png", "another one");
    assert_eq!(scene.pinged(), ["/a/"], "the list of the folder shows its size");
    scene.folder.write("a/.hidden.html", "x");
    assert_eq!(scene.pinged(), ["/a/", "/a/.hidden.html"]);
}

#[test]
fn what_a_generator_writes_anew_without_a_difference_is_no_news() {
    let scene = Scene::new(Names::default(), &["one.html", "two.html"]);
    for name in ["one.html", "two.html"] {
        fs::remove_file(scene.folder.0.join(name)).unwrap();
        scene.folder.write(name, if name == "one.html" { "first" } else { "other" });
    }
    assert_eq!(scene.pinged(), ["/two.html"]);
}

#[test]
fn a_file_that_is_being_written_is_told_of_when_it_rests() {
    let scene = Scene::new(Names::default(), &["feed.atom"]);
    let mut text = String::from("more");
    for _ in 0..8 {
        text.push_str(" and more");
        scene.folder.write("feed.atom", &text);
        scene.simulation.advance(SECOND / 2);
    }
    assert_eq!(scene.hub.seen().len(), 0, "it is not whole yet");
    assert_eq!(scene.pinged(), ["/feed.atom"]);
    // One that is never at rest is told of all the same.
    let before = scene.hub.seen().len();
    for _ in 0..60 {
        text.push_str(" and more");
        scene.folder.write("feed.atom", &text);
        scene.simulation.advance(SECOND / 2);
    }
    let told = scene.hub.seen().len() - before;
    assert!((1..=5).contains(&told), "{told}");
}

#[test]
fn a_folder_that_cannot_be_read_has_not_lost_its_pages() {
    let scene = Scene::new(Names::default(), &["feed.atom"]);
    let aside = scene.folder.0.with_extension("aside");
    fs::rename(&scene.folder.0, &aside).unwrap();
    assert_eq!(scene.pinged(), [""; 0]);
    assert!(!scene.publisher.is_well());
    fs::rename(&aside, &scene.folder.0).unwrap();
    scene.folder.write("feed.atom", "back again");
    assert_eq!(scene.pinged(), ["/feed.atom"]);
    assert!(scene.publisher.is_well());
}

#[test]
fn links_that_lead_in_circles_are_walked_once() {
    let scene = Scene::new(Names::default(), &["a/one.html"]);
    std::os::unix::fs::symlink("..", scene.folder.0.join("a/up")).unwrap();
    std::os::unix::fs::symlink("self", scene.folder.0.join("self")).unwrap();
    std::os::unix::fs::symlink("a", scene.folder.0.join("b")).unwrap();
    assert_eq!(scene.pinged(), ["/b/one.html"]);
    scene.folder.write("a/one.html", "another one");
    assert_eq!(scene.pinged(), ["/a/one.html", "/b/one.html"]);
}

#[test]
fn a_hub_that_is_away_is_told_when_it_is_back() {
    let scene = Scene::new(Names::default(), &["one.html", "two.html"]);
    scene.hub.answer(|_| Response::empty(503));
    scene.folder.write("one.html", "changed");
    scene.simulation.advance(3600 * SECOND);
    scene.folder.write("one.html", "changed again");
    scene.folder.write("two.html", "changed");
    scene.simulation.advance(3600 * SECOND);
    let tries = scene.hub.seen().len();
    // 5 s, doubled up to 10 minutes.
    assert!((12..=22).contains(&tries), "{tries}");
    let statistics = scene.herald.statistics();
    assert_eq!((statistics.waiting, statistics.away, scene.herald.busy()), (2, 1, 0));
    scene.hub.answer(|_| Response::empty(204));
    scene.simulation.advance(600 * SECOND);
    assert_eq!(topics(&scene.hub.seen()[tries..]), ["/one.html", "/two.html"], "each once");
    // What the hub refuses is not sent again, and stops nothing.
    scene.hub.answer(|seen| match String::from_utf8_lossy(&seen.body).contains("one") {
        true => Response::empty(400),
        false => Response::empty(204),
    });
    scene.folder.write("one.html", "changed once more");
    scene.folder.write("two.html", "changed once more");
    assert_eq!(scene.pinged(), ["/one.html", "/two.html"]);
    assert_eq!(scene.pinged(), [""; 0]);
    let statistics = scene.herald.statistics();
    assert_eq!((statistics.refused, statistics.taken, statistics.waiting), (1, 3, 0));
}

#[test]
fn one_hub_that_is_away_delays_no_other() {
    let world = World::new(3);
    let there = host(&world.simulation, "there.test", "11.4.0.1", |_| Response::empty(204));
    let herald = Herald::new(&world.agent, ["http://nobody.test/", "http://there.test/"]);
    herald.announce("http://pub.test/a");
    world.settle();
    herald.announce("http://pub.test/b");
    world.settle();
    assert_eq!(topics(&there.seen()), ["/a", "/b"]);
    // With the herald go its pings.
    drop(herald);
    let late = host(&world.simulation, "nobody.test", "11.4.0.2", |_| Response::empty(204));
    world.simulation.advance(3600 * SECOND);
    assert_eq!(late.seen().len(), 0);
}

fn served(world: &World, folder: &Path) {
    let site = Files::new(folder).unwrap().extension(".html").with(advertise_pages(
        vec![HUB.to_owned(), "http://other.test/".to_owned()],
        false,
        || Some("http://files.test/".to_owned()),
    ));
    world.simulation.network().set_host("files.test", &["11.5.0.1".parse().unwrap()]);
    let endpoint = "tcp:80:interface=11.5.0.1".parse().unwrap();
    // It goes with the simulation.
    let _ = listen(world.simulation.reactor(), &endpoint, Site::new(site)).unwrap();
}

#[test]
fn p02_p04_pages_name_hubs_and_themselves_and_nothing_else_does() {
    let world = World::new(3);
    let folder = Folder::new();
    for name in ["index.html", "a b.html", "feed.atom", "picture.png"] {
        folder.write(name, "x");
    }
    served(&world, &folder.0);
    let link = |method: &'static str, path: &str| {
        let request = world.agent.request(method, &format!("http://files.test{path}"));
        let field = world.wait(async move { Ok(request.send().await?.header("Link").map(str::to_owned)) });
        field.map(|field| parse_links(&field))
    };
    for (path, own) in
        [("/", "/"), ("/a%20b.html", "/a%20b.html"), ("/%61%20b?x=1", "/a%20b"), ("/feed.atom", "/feed.atom")]
    {
        for method in ["GET", "HEAD"] {
            let links = link(method, path).unwrap_or_else(|| panic!("{method} {path}"));
            let found: Vec<(&str, &str)> =
                links.iter().map(|link| (link.rels[0].as_str(), link.target.as_str())).collect();
            let own = format!("http://files.test{own}");
            assert_eq!(
                found,
                [("hub", HUB), ("hub", "http://other.test/"), ("self", own.as_str())],
                "{path}"
            );
        }
    }
    assert!(link("GET", "/picture.png").is_none() && link("GET", "/missing.html").is_none());
}

#[test]
fn a_file_on_disk_reaches_who_follows_it() {
    let world = World::with(3, HubOptions::default());
    let folder = Folder::new();
    folder.write("feed.atom", "<feed>one</feed>");
    served(&world, &folder.0);
    let herald = Herald::new(&world.agent, [HUB]);
    let options = FolderOptions { url: "http://files.test/".to_owned(), ..FolderOptions::default() };
    let publisher = FolderPublisher::start(world.simulation.reactor(), herald, folder.0.clone(), options);
    let begun = Rc::new(publisher.clone());
    world.wait(async move { begun.begun().await });
    let subscriber = world.subscriber(1);
    world.subscribe(&[("hub.topic", "http://files.test/feed.atom")]);
    folder.write("feed.atom", "<feed>one and two</feed>");
    world.simulation.advance(10 * SECOND);
    let got = subscriber.deliveries();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].text(), "<feed>one and two</feed>");
    assert_eq!(got[0].field("Content-Type"), Some("application/atom+xml"));
    drop(publisher);
    folder.write("feed.atom", "<feed>three</feed>");
    world.simulation.advance(100 * SECOND);
    assert_eq!(subscriber.deliveries().len(), 1, "with the publisher ends what it says");
}
