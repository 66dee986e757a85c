//! One TLS session of rustls, in the form that holds no buffers (`UnbufferedConnection`): bytes in, plain bytes and bytes to
//! send out. Both roles behind one type. It knows no socket and no clock; `layer` calls it.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, ServerConfig};

use super::error::TlsError;

/// What rustls may put around one record, at the most: RFC 5246 section 6.2.3 allows 2048 bytes; its suites need 40.
pub(super) const RECORD_OVERHEAD_MAX: usize = 64;
/// Plain bytes in one record: RFC 8446 section 5.1.
pub(super) const RECORD_BYTES_MAX: usize = 16 * 1024;

pub(super) enum Session {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What came of bytes.
pub(super) struct Progress {
    /// How many of them are done with; the others are wanted again, with more behind them.
    pub(super) consumed: usize,
    /// The peer has said that it sends no more.
    pub(super) closed: bool,
    pub(super) outcome: Result<(), TlsError>,
}

/// One step of rustls's state machine.
enum Step {
    Again,
    /// Nothing can be done without more bytes.
    Idle,
    Closed,
    Failed(rustls::Error),
}

impl Session {
    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Session, TlsError> {
        Ok(Session::Server(UnbufferedServerConnection::new(config)?))
    }

    pub(super) fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Session, TlsError> {
        Ok(Session::Client(UnbufferedClientConnection::new(config, name)?))
    }

    pub(super) fn common(&self) -> &CommonState {
        match self {
            Session::Server(connection) => connection,
            Session::Client(connection) => connection,
        }
    }

    /// Works through bytes from the peer. Plain bytes go to `plain`, what is to be sent to the end of `out`: also the alert
    /// of a failure.
    pub(super) fn process(
        &mut self,
        bytes: &mut [u8],
        plain: &mut dyn FnMut(&[u8]),
        out: &mut Vec<u8>,
    ) -> Progress {
        let mut progress = Progress { consumed: 0, closed: false, outcome: Ok(()) };
        loop {
            let rest = &mut bytes[progress.consumed..];
            let (discard, step) = match self {
                Session::Server(connection) => step(connection.process_tls_records(rest), plain, out),
                Session::Client(connection) => step(connection.process_tls_records(rest), plain, out),
            };
            progress.consumed += discard;
            match step {
                Step::Again => {}
                Step::Closed => progress.closed = true,
                Step::Idle => return progress,
                Step::Failed(error) => {
                    progress.outcome = Err(error.into());
                    self.drain(&mut bytes[progress.consumed..], out);
                    return progress;
                }
            }
        }
    }

    /// Collects the alert that rustls has made of a failure, and looks at nothing more: what is to be sent comes first.
    fn drain(&mut self, rest: &mut [u8], out: &mut Vec<u8>) {
        while self.common().wants_write() {
            let (_, step) = match self {
                Session::Server(connection) => step(connection.process_tls_records(rest), &mut |_| {}, out),
                Session::Client(connection) => step(connection.process_tls_records(rest), &mut |_| {}, out),
            };
            if !matches!(step, Step::Again) {
                return;
            }
        }
    }

    /// Makes records of plain bytes, or the farewell if there are none, at the beginning of `out`, which has room for them;
    /// answers the length. `partial` is what is left over of `process`.
    pub(super) fn encrypt(
        &mut self,
        partial: &mut [u8],
        plain: Option<&[u8]>,
        out: &mut [u8],
    ) -> Result<usize, TlsError> {
        let mut length = 0;
        // At most the peer's end is told before the state in which one writes.
        for _ in 0..4 {
            let done = match self {
                Session::Server(connection) => {
                    write(connection.process_tls_records(partial).state, plain, &mut out[length..])
                }
                Session::Client(connection) => {
                    write(connection.process_tls_records(partial).state, plain, &mut out[length..])
                }
            };
            match done? {
                Written::All(count) => return Ok(length + count),
                Written::Before(count) => length += count,
            }
        }
        Err(TlsError::Protocol("nothing can be written in this state".to_owned()))
    }
}

enum Written {
    All(usize),
    /// What was waiting came first.
    Before(usize),
}

fn write<Data>(
    state: Result<ConnectionState<'_, '_, Data>, rustls::Error>,
    plain: Option<&[u8]>,
    out: &mut [u8],
) -> Result<Written, TlsError> {
    let exhausted = |error: EncryptError| TlsError::Protocol(error.to_string());
    match state? {
        ConnectionState::WriteTraffic(mut writer) => {
            let written = match plain {
                Some(plain) => writer.encrypt(plain, out),
                None => writer.queue_close_notify(out),
            };
            written.map(Written::All).map_err(exhausted)
        }
        ConnectionState::EncodeTlsData(mut chunk) => {
            let count = chunk.encode(out).map_err(|error| TlsError::Protocol(error.to_string()))?;
            Ok(Written::Before(count))
        }
        ConnectionState::TransmitTlsData(transmit) => {
            transmit.done();
            Ok(Written::Before(0))
        }
        _ => Ok(Written::Before(0)),
    }
}

fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    plain: &mut dyn FnMut(&[u8]),
    out: &mut Vec<u8>,
) -> (usize, Step) {
    let UnbufferedStatus { discard, state, .. } = status;
    let next = match state {
        Ok(ConnectionState::ReadTraffic(mut records)) => {
            while let Some(Ok(record)) = records.next_record() {
                plain(record.payload);
            }
            Step::Again
        }
        Ok(ConnectionState::EncodeTlsData(mut chunk)) => {
            if let Err(EncodeError::InsufficientSize(size)) = chunk.encode(&mut []) {
                let at = out.len();
                out.resize(at + size.required_size, 0);
                // There is exactly the room that was asked for.
                let _ = chunk.encode(&mut out[at..]);
            }
            Step::Again
        }
        Ok(ConnectionState::TransmitTlsData(transmit)) => {
            transmit.done();
            Step::Again
        }
        Ok(ConnectionState::PeerClosed) => Step::Closed,
        // Early data is offered by no configuration of ours, and any other state waits for bytes.
        Ok(_) => Step::Idle,
        Err(error) => Step::Failed(error),
    };
    (discard, next)
}
