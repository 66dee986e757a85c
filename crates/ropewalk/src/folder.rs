//! `ropewalk web`: its options, what is wrong with them, and the files and the service that they come to.

use std::path::PathBuf;

use clap::Args;
use ropewalk_app::{App, StartError};
use ropewalk_hub::Names;
use ropewalk_net::ServerEndpoint;
use ropewalk_web::{Files, Handler, Site};
use ropewalk_wire::http1::encode_field;

use crate::command::WEB_ENDPOINT;
use crate::kinds::local;
use crate::publish::{PublishArgs, Publishing};

/// Fields that say how an answer is framed or what a file is. Two of a kind would contradict each other.
const OWN: [&str; 12] = [
    "accept-ranges",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "keep-alive",
    "last-modified",
    "location",
    "transfer-encoding",
];

#[derive(Args)]
pub(crate) struct WebArgs {
    /// The folder, or a single file
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Where to serve it
    #[arg(long, value_name = "ENDPOINT", default_value = WEB_ENDPOINT)]
    listen: ServerEndpoint,
    /// Serve files whose names begin with a dot, too
    #[arg(long)]
    hidden: bool,
    /// Answer a folder without an index with the list of what is in it
    #[arg(long)]
    listing: bool,
    /// The file that answers for its folder; may be given several times [default: index.html]
    #[arg(long, value_name = "NAME", value_parser = name)]
    index: Vec<String>,
    /// Find about.html for /about, if it is .html; may be given several times
    #[arg(long, value_name = ".EXT", value_parser = ending)]
    extension: Vec<String>,
    /// Send FILE.br, FILE.zst or FILE.gz for FILE to those who take it
    #[arg(long)]
    precompressed: bool,
    /// The type of files with an ending, such as .gltf=model/gltf+json; may be given several times
    #[arg(long, value_name = ".EXT=TYPE", value_parser = mime)]
    mime: Vec<(String, String)>,
    /// A file of the folder that is shown where there is none
    #[arg(long = "404", value_name = "FILE", value_parser = name)]
    missing: Option<String>,
    /// A file of the folder that answers for every page that is not there, as applications in the browser want
    #[arg(long, value_name = "FILE", value_parser = name)]
    fallback: Option<String>,
    /// How long browsers may keep a file without asking; 0 makes them ask every time
    #[arg(long, value_name = "SECONDS", value_parser = cache, allow_negative_numbers = true)]
    cache: Option<u32>,
    /// A field of every answer; may be given several times
    #[arg(long, value_name = "'NAME: VALUE'", value_parser = header)]
    header: Vec<(String, String)>,
    #[command(flatten)]
    publish: PublishArgs,
}

/// Adds the service `web`, and with hubs the service `publisher`.
pub(crate) fn build(app: &mut App, args: WebArgs) -> Result<(), StartError> {
    let listen = local(args.listen.clone());
    // What is wrong with the folder is said before anything is bound.
    args.files()?;
    let publishing = args.publish.publishing(&args.path, args.names());
    let named = publishing.clone();
    app.serve_site("web", listen, move || {
        let files = args.files()?;
        Ok(match &named {
            Some(publishing) => Site::new(files.with(publishing.links())),
            None => Site::new(files),
        })
    });
    publishing.map_or(Ok(()), |publishing: Publishing| publishing.add(app, "web"))
}

impl WebArgs {
    /// The files that are to be served.
    fn files(&self) -> Result<Files, StartError> {
        let single = self.path.is_file();
        let files = if single { Files::file(&self.path) } else { Files::new(&self.path) };
        let mut files = files.map_err(StartError::new)?;
        if single {
            self.refuse_for_folders()?;
        } else {
            files = self.of_folder(files)?;
        }
        if let Some(seconds) = self.cache {
            files = match seconds {
                0 => files.cache_control("no-cache"),
                seconds => files.cache_control(&format!("max-age={seconds}")),
            };
        }
        for (ending, media) in &self.mime {
            files = files.media_type(ending, media);
        }
        for (name, value) in &self.header {
            files = files.header(name.clone(), value.clone());
        }
        Ok(files.hidden(self.hidden).precompressed(self.precompressed))
    }

    /// By which URLs what is served: the same as in the files.
    fn names(&self) -> Names {
        let usual = Names::default();
        Names {
            index: if self.index.is_empty() { usual.index } else { self.index.clone() },
            extensions: self.extension.clone(),
            types: self.mime.clone(),
            hidden: self.hidden,
            listing: self.listing,
            single: self.path.is_file(),
        }
    }

    fn of_folder(&self, mut files: Files) -> Result<Files, StartError> {
        for name in &self.index {
            files = files.index(name);
        }
        for ending in &self.extension {
            files = files.extension(ending);
        }
        if let Some(name) = &self.missing {
            files = files.missing_page(self.present("--404", name)?);
        }
        if let Some(name) = &self.fallback {
            files = files.fallback(self.present("--fallback", name)?);
        }
        Ok(files.listing(self.listing))
    }

    /// A file that is named to be shown has to be there.
    fn present<'a>(&self, option: &str, name: &'a str) -> Result<&'a str, StartError> {
        if self.path.join(name).is_file() {
            return Ok(name);
        }
        let folder = self.path.display();
        Err(StartError::new(format!("there is no file {name} in {folder}: create it, or leave {option} out")))
    }

    fn refuse_for_folders(&self) -> Result<(), StartError> {
        let given = [
            ("--listing", self.listing),
            ("--index", !self.index.is_empty()),
            ("--extension", !self.extension.is_empty()),
            ("--404", self.missing.is_some()),
            ("--fallback", self.fallback.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(StartError::new(format!(
                "{option} is for a folder, and {} is a file; leave it out, or name the folder around the file",
                self.path.display()
            ))),
            None => Ok(()),
        }
    }
}

/// A file by its way from the folder.
fn name(text: &str) -> Result<String, String> {
    let wrong = |segment: &str| matches!(segment, "" | "." | "..");
    match text.split('/').any(wrong) {
        true => {
            Err("write the name of a file in the folder, such as index.html or pages/start.html".to_owned())
        }
        false => Ok(text.to_owned()),
    }
}

fn ending(text: &str) -> Result<String, String> {
    let plain = text.strip_prefix('.').is_some_and(|rest| !rest.is_empty() && !rest.contains('/'));
    plain.then(|| text.to_owned()).ok_or_else(|| "write an ending with its dot, such as .html".to_owned())
}

fn mime(text: &str) -> Result<(String, String), String> {
    let read = || {
        let (extension, media) = text.split_once('=')?;
        let essence = media.split(';').next().unwrap_or_default().trim_end();
        let (kind, own) = essence.split_once('/')?;
        let fits = is_token(kind) && is_token(own) && is_value(media);
        fits.then_some((ending(extension).ok()?, media.to_owned()))
    };
    read().ok_or_else(|| "write an ending and a type, such as .gltf=model/gltf+json".to_owned())
}

fn cache(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "write a number of whole seconds, such as 3600, or 0".to_owned())
}

fn header(text: &str) -> Result<(String, String), String> {
    let field = text.split_once(':').map(|(name, value)| (name, value.trim()));
    match field.filter(|(name, value)| is_token(name) && is_value(value)) {
        None => Err("write a name and a value, such as 'X-Robots-Tag: noindex'".to_owned()),
        Some((name, _)) if OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) => {
            Err(format!("{name} is what the server says of each answer itself; choose another field"))
        }
        Some((name, _)) if name.eq_ignore_ascii_case("cache-control") => {
            Err("how long files may be kept is said by --cache SECONDS".to_owned())
        }
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
    }
}

/// RFC 9110 5.6.2.
fn is_token(text: &str) -> bool {
    encode_field(&mut Vec::new(), text, b"").is_ok()
}

/// What can be sent as the value of a field, and read back from every terminal.
fn is_value(text: &str) -> bool {
    encode_field(&mut Vec::new(), "x", text.as_bytes()).is_ok()
}
