//! A link through which a registry is reached, that breaks and counts.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// When a link breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaks {
    /// Never.
    Never,
    /// Each connection after so many bytes from the server.
    Each(u64),
    /// For good after so many bytes from the server altogether.
    After(u64),
}

/// A port on 127.0.0.1 behind which somebody else listens.
#[derive(Debug)]
pub struct Link {
    port: u16,
    bytes: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl Link {
    /// A link to whoever listens at `to`.
    ///
    /// # Errors
    /// What the system says.
    pub fn to(to: SocketAddr, breaks: Breaks) -> io::Result<Self> {
        Self::at([127, 0, 0, 1], to, breaks)
    }

    /// The same, behind a port on another address of this machine.
    ///
    /// # Errors
    /// What the system says.
    pub fn at(address: [u8; 4], to: SocketAddr, breaks: Breaks) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((address, 0)))?;
        let port = listener.local_addr()?.port();
        let (bytes, connections) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let link = Self { port, bytes: Arc::clone(&bytes), connections: Arc::clone(&connections) };
        thread::spawn(move || {
            for near in listener.incoming() {
                let Ok(near) = near else { continue };
                let is_over =
                    matches!(breaks, Breaks::After(all) if bytes.load(Ordering::SeqCst) >= all);
                connections.fetch_add(1, Ordering::SeqCst);
                if is_over {
                    continue;
                }
                let Ok(far) = TcpStream::connect(to) else { continue };
                let bytes = Arc::clone(&bytes);
                thread::spawn(move || connect(&near, &far, breaks, &bytes));
            }
        });
        Ok(link)
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Bytes from the server that came through, those of TLS included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Connections that were made.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

fn connect(near: &TcpStream, far: &TcpStream, breaks: Breaks, bytes: &AtomicU64) {
    let (Ok(mut from_near), Ok(mut to_far)) = (near.try_clone(), far.try_clone()) else { return };
    thread::spawn(move || {
        // Whoever ends it, the other learns.
        let _ = io::copy(&mut from_near, &mut to_far);
        let _ = to_far.shutdown(Shutdown::Write);
    });
    let _ = answer(near, far, breaks, bytes);
    let _ = near.shutdown(Shutdown::Both);
    let _ = far.shutdown(Shutdown::Both);
}

fn answer(
    mut near: &TcpStream,
    mut far: &TcpStream,
    breaks: Breaks,
    bytes: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    let mut sent = 0_u64;
    loop {
        let count = far.read(&mut buffer)?;
        let room = match breaks {
            Breaks::Never => u64::MAX,
            Breaks::Each(limit) => limit.saturating_sub(sent),
            Breaks::After(limit) => limit.saturating_sub(bytes.load(Ordering::SeqCst)),
        };
        let len = usize::try_from(room).unwrap_or(usize::MAX).min(count);
        near.write_all(buffer.get(..len).unwrap_or_default())?;
        sent += len as u64;
        bytes.fetch_add(len as u64, Ordering::SeqCst);
        if count == 0 || len < count {
            return Ok(());
        }
    }
}
