//! Configurations that hold, and every mistake with its line and the nearest right word.

use clap::Args;

use super::*;

#[derive(Args)]
struct ShopArgs {
    /// What is sold
    #[arg(required = true)]
    goods: Vec<String>,
    /// Where
    #[arg(long, default_value = "tcp:0")]
    listen: ropewalk_net::ServerEndpoint,
    /// How many
    #[arg(long)]
    stock: Option<u16>,
    /// Whether on Sundays
    #[arg(long)]
    sunday: bool,
    /// A field of each answer
    #[arg(long)]
    header: Vec<String>,
}

fn shop(app: &mut App, args: ShopArgs) -> Result<(), StartError> {
    let told = format!("{:?} {} {:?} {} {:?}", args.goods, args.listen, args.stock, args.sunday, args.header);
    app.listen(&told, "tcp:0", || Deaf)
}

struct Deaf;
impl ropewalk_net::Protocol for Deaf {
    fn data_received(&mut self, _: &ropewalk_net::Transport, _: &[u8]) {}
}

fn read_with(text: &str, set: &[&str], variables: &[(&str, &str)]) -> Result<Configuration, ConfigError> {
    let kinds = [Kind::new("shop", "Sell", shop), Kind::new("inn", "Feed", shop)];
    let options = crate::Options::augment_args(Command::new("test"));
    let set: Vec<String> = set.iter().map(|&text| text.to_owned()).collect();
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Configuration::of_text(Path::new("rope.toml"), text, &kinds, &options, &set, variable)
}

/// The services that a configuration comes to, as they were told.
fn built(text: &str, set: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let configuration = read_with(text, set, variables).unwrap();
    let settings = Settings { access_log: AccessLog::Off, ..Settings::default() };
    let mut app = App::new("test", settings, None).unwrap();
    configuration.build(&mut app).unwrap();
    app.tree.sort().unwrap();
    app.tree.nodes().iter().map(|node| format!("{} {}", node.name(), node.service.borrow().name())).collect()
}

const TEXT: &str = r#"
grace = 0.5

[services.inn]
kind = "inn"
goods = "soup"
after = ["shop"]

[services.shop]
kind = "shop"
goods = ["tea", "-x"]
stock = 0x10
sunday = true
header = ["a: b", "c: d"]
"#;

#[test]
fn a_table_has_the_words_of_the_command_line() {
    assert_eq!(
        built(TEXT, &[], &[]),
        [r#"shop ["tea", "-x"] tcp:0 Some(16) true ["a: b", "c: d"]"#, r#"inn ["soup"] tcp:0 None false []"#]
    );
    assert_eq!(read_with(TEXT, &[], &[]).unwrap().options, ["--grace=0.5"]);
}

#[test]
fn the_environment_counts_more_than_the_file_and_the_command_line_more_than_that() {
    let variables = [
        ("ROPEWALK_SERVICES_SHOP_STOCK", "7"),
        ("ROPEWALK_SERVICES_SHOP_SUNDAY", "false"),
        ("ROPEWALK_GRACE", "9"),
    ];
    let services = built(TEXT, &["services.shop.stock=8", "services.inn.goods=bread"], &variables);
    assert_eq!(services[0], r#"shop ["tea", "-x"] tcp:0 Some(8) false ["a: b", "c: d"]"#);
    assert_eq!(services[1], r#"inn ["bread"] tcp:0 None false []"#);
    assert_eq!(read_with(TEXT, &["grace=3"], &variables).unwrap().options, ["--grace=3"]);
    assert_eq!(read_with(TEXT, &[], &variables).unwrap().options, ["--grace=9"]);
}

#[test]
fn every_mistake_has_its_line_and_the_right_word() {
    for (text, said) in [
        (
            "[services.a]\nkind = \"shpo\"",
            "rope.toml:2: services.a: there is no kind \"shpo\"; write \"shop\"",
        ),
        ("[services.a]\nkind = 7", "rope.toml:2: services.a: there is no kind \"7\"; there are shop, inn"),
        ("\n[services.a]\n", "rope.toml:2: services.a: kind is missing; the kinds are shop, inn"),
        (
            "[services.a]\nkind = \"shop\"\ngoods = \"x\"\nlisen = \"tcp:1\"",
            "rope.toml:4: services.a: there is no key \"lisen\"; write \"listen\"",
        ),
        (
            "[services.a]\nkind = \"shop\"",
            "rope.toml:1: services.a: the following required arguments were not provided: <GOODS>...",
        ),
        (
            "[services.a]\nkind = \"shop\"\ngoods = \"x\"\nsunday = 1",
            "rope.toml:4: services.a: sunday: it wants true or false",
        ),
        (
            "[services.a]\nkind = \"shop\"\ngoods = \"x\"\nstock = true",
            "rope.toml:4: services.a: stock: it wants a text or a number",
        ),
        (
            "[services.a]\nkind = \"shop\"\ngoods = \"x\"\nstock = [1]",
            "rope.toml:4: services.a: stock: it wants one value, not a list",
        ),
        (
            "[services.a]\nkind = \"shop\"\ngoods = \"x\"\nstock = 70000",
            "rope.toml:4: services.a: stock: 70000 is not in 0..=65535",
        ),
        (
            "[services.a]\nkind = \"shop\"\ngoods = \"x\"\n\nlisten = \"8080\"",
            "rope.toml:5: services.a: listen: endpoint \"8080\": write tcp:8080",
        ),
        ("[services.a]\nkind = \"shop\"\ngoods = [[1]]", "rope.toml:3: goods wants a text, a number"),
        (
            "[services.a]\nkind = \"shop\"\ngoods = \"x\"\nafter = \"b\"",
            "rope.toml:1: services.a: after: there is no service \"b\"",
        ),
        (
            "[service.a]\nkind = \"shop\"",
            "rope.toml:1: \"service\" is no table that there is; services are written [services.NAME]",
        ),
        ("services = 1", "rope.toml:1: write [services.NAME]"),
        ("\ngrce = 5", "rope.toml:2: there is no key \"grce\"; write \"grace\""),
        ("grace = \"soon\"", "rope.toml:1: grace: write a number of seconds"),
        ("a = 1\nb = = 2", "rope.toml:2: "),
        ("[services.\"a/b\"]\nkind = \"shop\"", "rope.toml:1: services.a/b: a service's name"),
    ] {
        let error = read_with(text, &[], &[]).expect_err(text).to_string();
        assert!(error.starts_with(said), "{text}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let text = "grce = 5\n[services.a]\nkind = \"shop\"\ngoods = \"x\"\nlisen = 1\nstokc = 1";
    let error = read_with(text, &[], &[]).unwrap_err();
    assert_eq!(error.mistakes.len(), 3);
    assert!(error.to_string().ends_with("(and 2 more mistakes: see check)"), "{error}");
    let error = read_with(TEXT, &["services.shp.stock=1"], &[]).unwrap_err().to_string();
    assert!(
        error.contains("--set services.shp.stock=1: there is no service \"shp\"; write \"shop\""),
        "{error}"
    );
    let error = read_with(TEXT, &[], &[("ROPEWALK_SERVICES_SHOP_STOCK", "many")]).unwrap_err().to_string();
    assert!(
        error.starts_with("ROPEWALK_SERVICES_SHOP_STOCK: services.shop: stock: invalid digit"),
        "{error}"
    );
}

#[test]
fn the_example_is_a_configuration() {
    let kinds = [Kind::new("shop", "Sell", shop), Kind::new("inn", "Feed", shop)];
    let options = crate::Options::augment_args(Command::new("test"));
    let active = "[services.shop]\nkind = \"shop\"\ngoods = \"tea\"";
    let text = crate::example("test", &kinds, &options, active);
    assert_eq!(built(&text, &[], &[]), [r#"shop ["tea"] tcp:0 None false []"#]);
    for key in [
        "# grace = 5",
        "# listen = \"tcp:0\"",
        "# sunday = false",
        "# header = [\"HEADER\"]",
        "# stock = \"STOCK\"",
    ] {
        assert!(text.contains(key), "{key} is not in\n{text}");
    }
}
