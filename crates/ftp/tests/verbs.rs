//! Every verb, with good arguments and bad ones, in and out of its turn.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod common;

use common::Ground;

#[test]
fn nothing_but_introductions_before_the_login() {
    let ground = Ground::new(1);
    let client = ground.client();
    for line in [
        "CWD /",
        "PWD",
        "LIST",
        "NLST",
        "RETR hello.txt",
        "STOR x",
        "APPE x",
        "STOU",
        "DELE hello.txt",
        "MKD x",
        "RMD x",
        "RNFR x",
        "RNTO x",
        "SIZE hello.txt",
        "MDTM hello.txt",
        "MLST",
        "MLSD",
        "MFMT 20260101000000 x",
        "PASV",
        "EPSV",
        "PORT 127,0,0,1,10,10",
        "EPRT |1|127.0.0.1|2570|",
        "TYPE I",
        "REST 5",
        "SITE CHMOD 644 x",
        "STAT",
        "ALLO 5",
        "CDUP",
    ] {
        client.expect(line, "530");
    }
    for (line, code) in [
        ("NOOP", "200"),
        ("SYST", "215"),
        ("FEAT", "211"),
        ("HELP", "214"),
        ("OPTS UTF8 ON", "200"),
        ("ABOR", "226"),
        ("LANG", "200"),
        ("ACCT x", "202"),
        ("AUTH TLS", "502"),
        ("PBSZ 0", "502"),
        ("PROT P", "502"),
        ("CCC", "502"),
        ("FOO", "500"),
        ("", "500"),
        ("PASS x", "503"),
        ("USER", "501"),
        ("USER \x01", "501"),
        ("SMNT /", "530"),
    ] {
        client.expect(line, code);
    }
    assert_eq!(client.expect("USER ada", "331"), "331 Now the password\r\n");
    client.expect("PASS x", "230");
    client.expect("SMNT /", "502");
    assert!(client.expect("USER anonymous", "331").contains("Anybody"));
    client.expect("PWD", "530");
    client.expect("PASS me@example.org", "230");
    client.expect("REIN", "220");
    client.expect("PWD", "530");
    client.expect("QUIT", "221");
    assert!(client.is_over());
    assert_eq!(ground.server.statistics().logins, 2);
}

#[test]
fn feat_names_what_works_and_help_what_is_served() {
    let ground = Ground::new(1);
    let client = ground.client();
    let features = client.say("FEAT");
    assert!(!features.contains("TLS") && !features.contains("PROT"), "there is none: {features}");
    for feature in ["EPRT", "EPSV", "MDTM", "MFMT", "REST STREAM", "SIZE", "TVFS", "UTF8", "LANG EN*"] {
        assert!(features.contains(&format!("\r\n {feature}\r\n")), "{feature}: {features}");
    }
    assert!(features.contains(" MLST type*;size*;modify*;perm*;unique*;UNIX.mode*;\r\n"));
    assert!(client.say("HELP").contains(" RETR"));
    assert_eq!(client.say("HELP retr"), "214 Syntax: RETR <path>\r\n");
    client.expect("HELP FOO", "502");
    assert_eq!(client.say("OPTS MLST size;modify;"), "200 MLST OPTS size;modify;\r\n");
    assert_eq!(client.say("OPTS MLST"), "200 MLST OPTS\r\n");
    assert!(client.say("FEAT").contains(" MLST type;size;modify;perm;unique;UNIX.mode;\r\n"));
    client.expect("OPTS FOO", "501");
    client.expect("OPTS UTF8 OFF", "504");
    client.expect("LANG en-GB", "200");
    client.expect("LANG fr", "504");
}

/// RFC 959 section 4.1.1: "All transfer parameters are unchanged"; RFC 2428 section 4 for EPSV ALL.
#[test]
fn another_name_leaves_the_parameters_as_they_are() {
    let ground = Ground::new(1);
    let client = ground.user("ada");
    client.expect("TYPE I", "200");
    client.expect("EPSV ALL", "200");
    client.expect("USER guest", "331");
    client.expect("PASS x", "230");
    let status = client.expect("STAT", "211");
    assert!(status.contains("TYPE I"), "{status}");
    client.expect("PASV", "501");
}

#[test]
fn parameters() {
    let ground = Ground::new(1);
    let client = ground.user("ada");
    for (line, code) in [
        ("TYPE A", "200"),
        ("TYPE a n", "200"),
        ("TYPE I", "200"),
        ("TYPE L 8", "200"),
        ("TYPE E", "504"),
        ("TYPE L 7", "504"),
        ("TYPE A T", "504"),
        ("TYPE", "501"),
        ("TYPE X", "501"),
        ("MODE S", "200"),
        ("MODE B", "504"),
        ("MODE Z", "504"),
        ("MODE", "501"),
        ("STRU F", "200"),
        ("STRU R", "504"),
        ("STRU P", "504"),
        ("STRU", "501"),
        ("REST 0", "350"),
        ("REST 12", "350"),
        ("REST", "501"),
        ("REST -1", "501"),
        ("REST 99999999999999999999", "501"),
        ("REST +1", "501"),
        ("ALLO 100", "202"),
        ("ALLO 100 R 10", "202"),
        ("ALLO x", "501"),
        ("ALLO", "501"),
        ("SITE HELP", "214"),
        ("SITE", "501"),
        ("SITE EXEC ls", "504"),
    ] {
        client.expect(line, code);
    }
}

#[test]
fn folders_and_names() {
    let ground = Ground::new(1);
    let client = ground.ada();
    assert_eq!(client.say("PWD"), "257 \"/\" is the folder\r\n");
    client.expect("CWD sub", "250");
    client.expect("CWD nothing", "550");
    client.expect("CWD deep.bin", "550");
    client.expect("CWD", "501");
    assert_eq!(client.say("XPWD"), "257 \"/sub\" is the folder\r\n");
    client.expect("CDUP", "250");
    client.expect("CDUP", "250");
    assert_eq!(client.say("PWD"), "257 \"/\" is the folder\r\n");
    assert_eq!(client.say("MKD a \"b\""), "257 \"/a \"\"b\"\"\" is made\r\n");
    client.expect("MKD a \"b\"", "550");
    client.expect("MKD no/where", "550");
    client.expect("MKD", "501");
    client.expect("XCWD a \"b\"", "250");
    client.expect("XMKD ünder", "257");
    client.expect("RMD /a \"b\"", "550");
    client.expect("XRMD ünder", "250");
    client.expect("XCUP", "250");
    client.expect("RMD a \"b\"", "250");
    client.expect("RMD a \"b\"", "550");
    client.expect("RMD hello.txt", "550");
    client.expect("RMD /", "550");
    client.expect("DELE sub", "550");
    client.expect("DELE", "501");
    client.expect("DELE nothing", "550");
    client.expect("RNTO x", "503");
    client.expect("RNFR nothing", "550");
    client.expect("RNFR /", "550");
    client.expect("RNFR hello.txt", "350");
    client.expect("NOOP", "200");
    client.expect("RNTO x", "503");
    client.expect("RNFR hello.txt", "350");
    client.expect("RNTO sub/there.txt", "250");
    client.expect("RNTO again", "503");
    client.expect("SIZE hello.txt", "550");
    client.expect("DELE sub/there.txt", "250");
    client.expect(&format!("MKD {}", "x".repeat(300)), "553");
    client.expect("MKD a\0b", "553");
    assert_eq!(ground.storage.paths(), ["/", "/sub", "/sub/deep.bin"]);
}

#[test]
fn facts() {
    let ground = Ground::new(1);
    let client = ground.ada();
    assert_eq!(client.say("SIZE hello.txt"), "213 12\r\n");
    client.expect("SIZE sub", "550");
    client.expect("SIZE", "501");
    client.expect("MDTM nothing", "550");
    assert_eq!(client.say("MFMT 20240229123456 hello.txt"), "213 Modify=20240229123456; hello.txt\r\n");
    assert_eq!(client.say("MDTM hello.txt"), "213 20240229123456\r\n");
    for bad in ["MFMT", "MFMT 20240229123456", "MFMT 20240230123456 hello.txt", "MFMT hello.txt"] {
        client.expect(bad, "501");
    }
    client.expect("MFMT 20240229123456 nothing", "550");
    client.expect("SITE CHMOD 640 hello.txt", "200");
    client.expect("SITE CHMOD 640 nothing", "550");
    for bad in ["SITE CHMOD", "SITE CHMOD 640", "SITE CHMOD 4755 hello.txt", "SITE CHMOD rwx hello.txt"] {
        client.expect(bad, "501");
    }
    client.expect("OPTS MLST type;size;modify;perm;UNIX.mode;", "200");
    assert_eq!(
        client.say("MLST hello.txt"),
        "250-What is known of it\r\n type=file;size=12;modify=20240229123456;perm=adfrw;UNIX.mode=0640; /hello.txt\r\n250 End\r\n"
    );
    assert!(
        client.say("MLST").contains("type=dir;")
            && client.expect("MLST sub", "250").contains("perm=cdeflmp;")
    );
    client.expect("MLST nothing", "550");
    client.expect("TYPE A", "200");
    client.expect("SIZE hello.txt", "550");
}

#[test]
fn lists_of_every_kind() {
    let ground = Ground::new(1);
    let client = ground.ada();
    ground.storage.put("/b.txt", b"").unwrap();
    assert_eq!(client.fetch_text("NLST"), "b.txt\r\nhello.txt\r\nsub\r\n");
    assert_eq!(client.fetch_text("NLST -a *.txt"), "b.txt\r\nhello.txt\r\n");
    assert_eq!(client.fetch_text("NLST sub"), "deep.bin\r\n");
    assert_eq!(client.fetch_text("NLST hello.txt"), "hello.txt\r\n");
    let list = client.fetch_text("LIST -la");
    assert!(
        list.starts_with("-rw-r--r--   1 ") && list.ends_with(" sub\r\n") && list.contains("\r\ndrwxr-xr-x "),
        "{list}"
    );
    assert!(client.fetch_text("MLSD /sub").starts_with("type=file;size=5000;modify=2000"));
    assert_eq!(client.fetch("MLSD hello.txt").1, "501 It is no folder\r\n");
    assert!(client.fetch("LIST nothing").1.starts_with("550"));
    assert_eq!(client.fetch_text("NLST nothing*"), "");
    let status = client.expect("STAT /", "213");
    assert!(status.contains(" hello.txt\r\n") && status.ends_with("213 End\r\n"), "{status}");
    client.expect("STAT nothing", "550");
    let status = client.expect("STAT", "211");
    assert!(status.contains("Logged in as ada") && status.contains("No transfer"), "{status}");
    for line in ["LIST", "RETR hello.txt", "STOR x", "MLSD", "NLST", "APPE x", "STOU"] {
        assert!(client.expect(line, "425").contains("First PASV"));
    }
}

#[test]
fn permissions_are_what_they_say() {
    let ground = Ground::new(1);
    for name in ["guest", "anonymous"] {
        let client = ground.user(name);
        client.expect("TYPE I", "200");
        for line in [
            "DELE hello.txt",
            "MKD x",
            "RMD sub",
            "RNFR hello.txt",
            "SITE CHMOD 600 hello.txt",
            "MFMT 20240229123456 hello.txt",
        ] {
            assert_eq!(client.say(line), "550 Permission denied\r\n", "{line}");
        }
        for line in ["STOR x", "APPE hello.txt", "STOU x"] {
            assert_eq!(client.store(line, b"x"), "550 Permission denied\r\n", "{line}");
        }
        assert_eq!(client.fetch_text("RETR hello.txt"), "hello\nworld\n");
        assert!(client.say("MLST hello.txt").contains("perm=r;"));
    }
    let blind = ground.user("blind");
    for line in ["LIST", "NLST", "MLSD", "RETR hello.txt"] {
        assert_eq!(blind.fetch(line).1, "550 Permission denied\r\n", "{line}");
    }
    for line in ["SIZE hello.txt", "MDTM hello.txt", "MLST hello.txt", "STAT hello.txt"] {
        blind.expect("TYPE I", "200");
        assert_eq!(blind.say(line), "550 Permission denied\r\n", "{line}");
    }
    assert_eq!(blind.store("STOR x", b"y"), "226 It has come whole\r\n");
    assert_eq!(ground.storage.take("/x").unwrap(), b"y");
    assert_eq!(ground.storage.take("/hello.txt").unwrap(), b"hello\nworld\n");
}
