//! What an agent may be told: deadlines, limits, the pool's sizes, redirects. Each with its default and why; nothing here acts.

use std::time::Duration;

use ropewalk_wire::http1::ResponseLimits;

/// How long each phase of a request may take. `None` means for ever.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_web::client::Deadlines;
/// let deadlines = Deadlines { total: Some(Duration::from_secs(20)), ..Deadlines::default() };
/// assert_eq!(deadlines.connect, Duration::from_secs(30));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Waiting for one of the connections that the agent may have. None: the others' deadlines bound it.
    pub queue: Option<Duration>,
    /// Finding the name's addresses and connecting to one of them. 30 s. What comes of it is the error of
    /// [`ropewalk_net::connect`], which tells of each address.
    pub connect: Duration,
    /// The TLS handshake, and a proxy's answer to CONNECT. 20 s each; the handshake has besides the limit of its
    /// [`TlsClientOptions`](ropewalk_net::tls::TlsClientOptions), 10 s, and the sooner counts.
    pub tls: Option<Duration>,
    /// So long the peer may take none of what is to be sent. 30 s. It is looked at each time so long has passed.
    pub send: Option<Duration>,
    /// How long an `Expect: 100-continue` waits before the body is sent all the same (RFC 9110 section 10.1.1). 1 s.
    pub continues: Duration,
    /// From the request's end to the answer's first byte. 60 s.
    pub first_byte: Option<Duration>,
    /// From there to the end of the head. 30 s.
    pub head: Option<Duration>,
    /// Between two pieces of the body, while the program reads them. 60 s.
    pub idle: Option<Duration>,
    /// Bytes per second that a body must keep up on average, after the first [`Deadlines::rate_grace`]; the time in which
    /// the program does not read does not count. 16: who sends one byte a minute is no server. 0 is no minimum.
    pub bytes_per_second_min: u32,
    /// How long a body may be slower than that. 60 s.
    pub rate_grace: Duration,
    /// Everything, from the call to the last byte of the body, redirects included. None: a download may take its time
    /// as long as it goes on.
    pub total: Option<Duration>,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            queue: None,
            connect: Duration::from_secs(30),
            tls: Some(Duration::from_secs(20)),
            send: Some(Duration::from_secs(30)),
            continues: Duration::from_secs(1),
            first_byte: Some(Duration::from_secs(60)),
            head: Some(Duration::from_secs(30)),
            idle: Some(Duration::from_secs(60)),
            bytes_per_second_min: 16,
            rate_grace: Duration::from_secs(60),
            total: None,
        }
    }
}

impl Deadlines {
    /// For answers that never end and may be silent: event streams, long polls. The head has its deadlines, the body none.
    #[must_use]
    pub fn endless() -> Deadlines {
        Deadlines { idle: None, bytes_per_second_min: 0, ..Deadlines::default() }
    }
}

/// How large an answer may be.
#[derive(Clone, Debug)]
pub struct ClientLimits {
    /// Bytes of a body that `bytes`, `text` and `json` keep in memory. 16 MiB.
    pub collect_bytes_max: u64,
    /// Bytes of a body after decompression, however it is read. 1 GiB: one that is larger is not sent compressed by accident.
    pub decoded_bytes_max: u64,
    /// How many times larger than what was received a decompressed body may be, once it is above 1 MiB. 200: text comes to
    /// 5 or 10, logs that repeat themselves to 50, and a bomb to 1000.
    pub decoded_ratio_max: u64,
    /// Bytes of a body held in memory while the program does not read them; then reading stops. 64 KiB.
    pub buffer_bytes: usize,
    /// Bytes of a body that nobody wants, thrown away to keep the connection; a longer one costs it. 64 KiB.
    pub drain_bytes_max: u64,
    /// Sizes of the head and of the framing.
    pub wire: ResponseLimits,
}

impl Default for ClientLimits {
    fn default() -> ClientLimits {
        ClientLimits {
            collect_bytes_max: 16 * 1024 * 1024,
            decoded_bytes_max: 1024 * 1024 * 1024,
            decoded_ratio_max: 200,
            buffer_bytes: 64 * 1024,
            drain_bytes_max: 64 * 1024,
            wire: ResponseLimits::default(),
        }
    }
}

/// How many connections an agent has, and for how long.
#[derive(Clone, Debug)]
pub struct PoolLimits {
    /// Connections to one host. 6, as browsers.
    pub per_host_max: usize,
    /// Connections to all hosts together. 64.
    pub total_max: usize,
    /// Requests that may wait for one. 4096.
    pub waiting_max: usize,
    /// How long a connection is kept without a request. 60 s; one second less than the server says, if it says less.
    /// Zero keeps none.
    pub idle: Duration,
    /// Requests on their way on one connection, where pipelining was asked for. 8.
    pub pipeline_max: usize,
}

impl Default for PoolLimits {
    fn default() -> PoolLimits {
        PoolLimits {
            per_host_max: 6,
            total_max: 64,
            waiting_max: 4096,
            idle: Duration::from_secs(60),
            pipeline_max: 8,
        }
    }
}

/// Which redirects are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirects {
    /// How many, one after the other. 20. With 0 the redirect itself is the answer.
    pub most: u32,
    /// Whether from `https` to `http`. No: what was secret would not be any more.
    pub dangerous_downgrade: bool,
}

impl Default for Redirects {
    fn default() -> Redirects {
        Redirects { most: 20, dangerous_downgrade: false }
    }
}

impl Redirects {
    /// None: the redirect itself is the answer.
    #[must_use]
    pub const fn none() -> Redirects {
        Redirects { most: 0, dangerous_downgrade: false }
    }
}
