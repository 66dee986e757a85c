//! What a command line says: a verb of the registry that RFC 5797 has begun, and the rest of the line. Whether it makes sense is
//! the session's business.

macro_rules! verbs {
    ($($verb:ident $name:literal $syntax:literal;)*) => {
        /// A command that an FTP server knows, by its name in the IANA registry of RFC 5797, and the historic X-forms.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Verb {
            $(#[doc = concat!("`", $name, $syntax, "`")] $verb,)*
        }

        impl Verb {
            /// All of them, in the order of their names.
            pub const ALL: &[Verb] = &[$(Verb::$verb,)*];

            /// Its name in capitals.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Verb::$verb => $name,)* }
            }

            /// What stands behind the name, with a space in front, as HELP shows it; empty if nothing does.
            #[must_use]
            pub fn syntax(self) -> &'static str {
                match self { $(Verb::$verb => $syntax,)* }
            }

            /// The verb of this name, in capitals or not.
            #[must_use]
            pub fn find(name: &[u8]) -> Option<Verb> {
                Verb::ALL.iter().copied().find(|verb| name.eq_ignore_ascii_case(verb.name().as_bytes()))
            }
        }
    };
}

verbs! {
    Abor "ABOR" "";
    Acct "ACCT" " <account>";
    Adat "ADAT" " <base64>";
    Allo "ALLO" " <bytes> [R <bytes>]";
    Appe "APPE" " <path>";
    Auth "AUTH" " TLS";
    Ccc "CCC" "";
    Cdup "CDUP" "";
    Conf "CONF" " <base64>";
    Cwd "CWD" " <path>";
    Dele "DELE" " <path>";
    Enc "ENC" " <base64>";
    Eprt "EPRT" " |<protocol>|<address>|<port>|";
    Epsv "EPSV" " [1|2|ALL]";
    Feat "FEAT" "";
    Help "HELP" " [<command>]";
    Lang "LANG" " [<language>]";
    List "LIST" " [<path>]";
    Mdtm "MDTM" " <path>";
    Mfmt "MFMT" " <YYYYMMDDHHMMSS> <path>";
    Mic "MIC" " <base64>";
    Mkd "MKD" " <path>";
    Mlsd "MLSD" " [<path>]";
    Mlst "MLST" " [<path>]";
    Mode "MODE" " S";
    Nlst "NLST" " [<path>]";
    Noop "NOOP" "";
    Opts "OPTS" " <command> [<options>]";
    Pass "PASS" " <password>";
    Pasv "PASV" "";
    Pbsz "PBSZ" " 0";
    Port "PORT" " <h1,h2,h3,h4,p1,p2>";
    Prot "PROT" " C|P";
    Pwd "PWD" "";
    Quit "QUIT" "";
    Rein "REIN" "";
    Rest "REST" " <offset>";
    Retr "RETR" " <path>";
    Rmd "RMD" " <path>";
    Rnfr "RNFR" " <path>";
    Rnto "RNTO" " <path>";
    Site "SITE" " CHMOD <mode> <path> | HELP";
    Size "SIZE" " <path>";
    Smnt "SMNT" " <path>";
    Stat "STAT" " [<path>]";
    Stor "STOR" " <path>";
    Stou "STOU" " [<name>]";
    Stru "STRU" " F";
    Syst "SYST" "";
    Type "TYPE" " A|I|L 8";
    User "USER" " <name>";
    Xcup "XCUP" "";
    Xcwd "XCWD" " <path>";
    Xmkd "XMKD" " <path>";
    Xpwd "XPWD" "";
    Xrmd "XRMD" " <path>";
}

/// A command line in its parts.
///
/// ```
/// use ropewalk_wire::ftp::{Command, Verb};
/// let command = Command::parse(b"stor  my file ");
/// // One space parts the verb from the path; all others are the path's.
/// assert_eq!((command.verb, command.argument), (Some(Verb::Stor), &b" my file "[..]));
/// assert_eq!(Command::parse(b"FOO").verb, None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// The verb; `None` if nobody knows it.
    pub verb: Option<Verb>,
    /// Its name as it came.
    pub name: &'a [u8],
    /// What stands behind the first space, as it came; empty if there is none.
    pub argument: &'a [u8],
}

impl<'a> Command<'a> {
    /// Parts a line.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Command<'a> {
        let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (name, argument) = (&line[..end], line.get(end + 1..).unwrap_or_default());
        Command { verb: Verb::find(name), name, argument }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_found_by_its_name_and_stands_in_order() {
        for verb in Verb::ALL {
            assert_eq!(Verb::find(verb.name().as_bytes()), Some(*verb));
            assert_eq!(Verb::find(verb.name().to_lowercase().as_bytes()), Some(*verb));
            assert!(verb.syntax().is_empty() || verb.syntax().starts_with(' '));
        }
        assert!(Verb::ALL.is_sorted_by_key(|verb| verb.name()));
        for none in [&b""[..], b"R", b"RETRX", b"RET", b"\xff\xff\xff\xff"] {
            assert_eq!(Verb::find(none), None);
        }
    }

    #[test]
    fn a_line_without_a_space_has_no_argument() {
        assert_eq!(Command::parse(b"PWD").argument, b"");
        assert_eq!(Command::parse(b"PWD ").argument, b"");
        assert_eq!(Command::parse(b"").name, b"");
        assert_eq!(Command::parse(b" PWD").verb, None);
    }
}
