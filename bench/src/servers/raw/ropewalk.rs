//! `echo` and `stream` with this project's two faces of a connection: protocols, and tasks with a `Stream`.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use ropewalk_net::{
    Factory, Lost, Producer, Protocol, ServerOptions, Stream, StreamError, Transport, adopt_listener,
    stream_factory,
};
use ropewalk_reactor::Reactor;

use super::{PIECE, PIECE_BYTES, Way};
use crate::servers::Setup;

/// Serves with protocols until it is killed.
pub(in crate::servers) fn run(setup: Setup) -> io::Result<()> {
    match setup.way {
        Way::Echo => serve(&setup, || Echo),
        Way::Take => serve(&setup, || Take { taken: 0 }),
        Way::Give => serve(&setup, || Give),
    }
}

/// Serves with streams until it is killed.
pub(in crate::servers) fn run_streams(setup: Setup) -> io::Result<()> {
    match setup.way {
        Way::Echo => serve(&setup, stream_factory(echo)),
        Way::Take => serve(&setup, stream_factory(take)),
        Way::Give => serve(&setup, stream_factory(give)),
    }
}

fn serve(setup: &Setup, factory: impl Factory) -> io::Result<()> {
    let reactor = Reactor::new()?;
    let listener = super::listen(setup)?;
    let _port = adopt_listener(&reactor, listener.into(), Rc::new(factory), ServerOptions::default())?;
    reactor.run()
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

struct Take {
    taken: u64,
}

impl Protocol for Take {
    fn data_received(&mut self, _transport: &Transport, data: &[u8]) {
        self.taken += data.len() as u64;
    }

    fn read_ended(&mut self, transport: &Transport) {
        transport.write(self.taken.to_string().as_bytes());
        transport.lose_connection();
    }
}

struct Give;

impl Protocol for Give {
    fn connection_made(&mut self, transport: &Transport) {
        let source = Rc::new(Source { transport: transport.clone(), running: Cell::new(true) });
        transport.register_producer(source.clone());
        source.produce();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

/// Fills up to high water, and again when there is room.
struct Source {
    transport: Transport,
    running: Cell<bool>,
}

impl Source {
    fn produce(&self) {
        while self.running.get() && !self.transport.is_full() {
            self.transport.write(&PIECE);
        }
    }
}

impl Producer for Source {
    fn pause_producing(&self) {
        self.running.set(false);
    }

    fn resume_producing(&self) {
        self.running.set(true);
        self.produce();
    }

    fn stop_producing(&self) {
        self.running.set(false);
    }
}

async fn echo(mut stream: Stream) -> Result<(), StreamError> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let count = stream.read_into_partial(&mut buffer).await?;
        stream.write(&buffer[..count]).await?;
    }
}

async fn take(mut stream: Stream) -> Result<(), StreamError> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut taken = 0;
    loop {
        match stream.read_into_partial(&mut buffer).await {
            Ok(count) => taken += count as u64,
            Err(StreamError::Closed(Lost::Ended)) => return stream.write(taken.to_string().as_bytes()).await,
            Err(error) => return Err(error),
        }
    }
}

async fn give(stream: Stream) -> Result<(), StreamError> {
    loop {
        stream.write(&PIECE).await?;
    }
}
