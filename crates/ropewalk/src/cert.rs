//! `ropewalk cert`: a self-signed certificate and its key, for development. It serves nothing and overwrites nothing.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};
use ropewalk_net::quote;

/// Wrong usage, and what stands in the way.
const EXIT_USAGE: u8 = 2;
/// Clocks of other machines may be late.
const BEFORE_NOW: Duration = Duration::from_secs(86_400);

#[derive(Args)]
pub(crate) struct CertArgs {
    /// Names and addresses that it is for
    #[arg(value_name = "NAME", default_values = ["localhost", "127.0.0.1", "::1"])]
    names: Vec<String>,
    /// Where the certificate is written
    #[arg(long, value_name = "FILE", default_value = "cert.pem")]
    cert: PathBuf,
    /// Where the private key is written, for its owner alone
    #[arg(long, value_name = "FILE", default_value = "key.pem")]
    key: PathBuf,
    /// How many days it is valid; browsers want no more than 398
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,
}

/// Makes the pair, and says what it is good for.
pub(crate) fn run(program: &str, args: &CertArgs) -> ExitCode {
    match make(args) {
        Ok(()) => {
            announce(program, args);
            ExitCode::SUCCESS
        }
        Err(error) => {
            // Where nobody listens there is nobody to tell.
            let _ = writeln!(io::stderr(), "{program}: {error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn make(args: &CertArgs) -> Result<(), String> {
    if args.cert == args.key {
        return Err("--cert and --key name the same file; name two".to_owned());
    }
    for path in [&args.cert, &args.key] {
        if path.symlink_metadata().is_ok() {
            return Err(format!("{} is there already; remove it, or name another file", path.display()));
        }
    }
    let (certificate, key) = pair(args).map_err(|error| format!("{}: {error}", args.names.join(", ")))?;
    // The key first, and never readable by others, not even for a moment.
    create(&args.key, 0o600, &key)?;
    create(&args.cert, 0o644, &certificate).inspect_err(|_| {
        // A key without a certificate would only stand in the way of the next attempt.
        let _ = std::fs::remove_file(&args.key);
    })
}

fn pair(args: &CertArgs) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(args.names.clone())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BEFORE_NOW);
    params.not_after = epoch + (now + Duration::from_secs(86_400) * u32::from(args.days));
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::OrganizationName, "ropewalk cert, for development only");
    params.distinguished_name.push(DnType::CommonName, args.names[0].as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn create(path: &Path, mode: u32, text: &str) -> Result<(), String> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

fn announce(program: &str, args: &CertArgs) {
    let [cert, key] = [&args.cert, &args.key].map(|path| path.display().to_string());
    let (days, names) = (args.days, args.names.join(", "));
    let said = format!(
        "{cert} and {key} are for {names}, and valid for {days} days\n  \
         {program} web --listen ssl:8443:privateKey={}:certKey={}\n  \
         curl --cacert {cert} https://localhost:8443/\n",
        quote(&key),
        quote(&cert),
    );
    let warning = "warning: nobody has verified this certificate, for it is self-signed: it is for development only. Browsers \
                   will warn of it, and whoever serves it to others teaches them to ignore such warnings.\n";
    // A program whose output nobody reads has done its work all the same.
    let _ = io::stdout().write_all(said.as_bytes());
    let _ = io::stderr().write_all(warning.as_bytes());
}
