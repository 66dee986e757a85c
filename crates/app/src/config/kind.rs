//! Kinds of services: what can be a sub-command of the program, and a table of its configuration. One struct of options is both.

use std::fmt;
use std::rc::Rc;

use clap::{ArgMatches, Args, Command};

use crate::application::App;
use crate::service::StartError;

type Build = Rc<dyn Fn(&mut App, &mut ArgMatches) -> Result<(), StartError>>;

/// A kind of service.
///
/// ```
/// use clap::Args;
/// use ropewalk_app::{App, Kind, StartError};
/// use ropewalk_net::{Protocol, Transport};
///
/// /// `program echo --listen ENDPOINT`, and `kind = "echo"` with `listen = "ENDPOINT"`.
/// #[derive(Args)]
/// struct EchoArgs {
///     /// Where to listen
///     #[arg(long, default_value = "tcp:7007")]
///     listen: String,
/// }
///
/// struct Echo;
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         transport.write(data);
///     }
/// }
///
/// fn echo(app: &mut App, args: EchoArgs) -> Result<(), StartError> {
///     app.listen("echo", &args.listen, || Echo)
/// }
///
/// let kind = Kind::new("echo", "Say everything once more", echo);
/// # assert_eq!(kind.name(), "echo");
/// ```
#[derive(Clone)]
pub struct Kind {
    name: &'static str,
    help: &'static str,
    augment: fn(Command) -> Command,
    build: Build,
}

impl Kind {
    /// A kind whose options are `A`, and whose services `build` adds to the application. `build` should say what is wrong with the
    /// options before anything is bound.
    pub fn new<A: Args + 'static>(
        name: &'static str,
        help: &'static str,
        build: fn(&mut App, A) -> Result<(), StartError>,
    ) -> Kind {
        let build = move |app: &mut App, matches: &mut ArgMatches| {
            let args = A::from_arg_matches_mut(matches).map_err(StartError::new)?;
            build(app, args)
        };
        Kind { name, help, augment: A::augment_args, build: Rc::new(build) }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it does, in one line.
    #[must_use]
    pub fn help(&self) -> &'static str {
        self.help
    }

    /// Its sub-command.
    #[must_use]
    pub fn command(&self) -> Command {
        (self.augment)(Command::new(self.name)).about(self.help).long_about(None)
    }

    /// Adds the services that these options come to.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn build(&self, app: &mut App, matches: &mut ArgMatches) -> Result<(), StartError> {
        (self.build)(app, matches)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({})", self.name)
    }
}
