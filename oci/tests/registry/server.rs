//! A server that does what a test wants: HTTP/1.1 as far as our client speaks it, plain or over TLS.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// Which connection it came on, counted from 0.
    pub(crate) connection: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The range that was asked for.
    pub(crate) fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().unwrap(), last.parse::<usize>().unwrap() + 1))
    }
}

/// How an answer's body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// To its end; the connection stays.
    Whole,
    /// So many bytes, then the connection is closed without a word.
    Cut(usize),
    /// So many bytes, then nothing until the other side gives up.
    Stall(usize),
    /// One byte every ten milliseconds.
    Drip,
    /// In pieces whose sum nobody announced.
    Chunked,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) flow: Flow,
}

impl Reply {
    pub(crate) fn new(status: u16, body: &[u8]) -> Self {
        Self { status, headers: Vec::new(), body: body.to_vec(), flow: Flow::Whole }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub(crate) fn flows(mut self, flow: Flow) -> Self {
        self.flow = flow;
        self
    }

    /// The part of `blob` that was asked for, as a registry gives it.
    pub(crate) fn part(request: &Request, blob: &[u8]) -> Self {
        let Some((from, to)) = request.range() else { return Self::new(200, blob) };
        let range = format!("bytes {from}-{}/{}", to - 1, blob.len());
        Self::new(206, &blob[from..to]).with("Content-Range", range)
    }
}

type Script = dyn Fn(&Request, usize) -> Reply + Send + Sync;

/// A server that runs as long as this is kept.
pub(crate) struct Server {
    pub(crate) port: u16,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Speaks plain HTTP; `script` is given each request and its number.
    pub(crate) fn plain(script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(script))
    }

    /// Speaks TLS as `authority` vouches for.
    pub(crate) fn tls(
        authority: &Authority,
        script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(authority.server(false)), Arc::new(script))
    }

    /// As [`Server::tls`], to those only whom `authority` vouches for, too.
    pub(crate) fn tls_for_some(
        authority: &Authority,
        script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(authority.server(true)), Arc::new(script))
    }

    fn start(tls: Option<Arc<ServerConfig>>, script: Arc<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (tls, script, log) = (tls.clone(), Arc::clone(&script), Arc::clone(&log));
                thread::spawn(move || {
                    let Ok(stream) = stream else { return };
                    match tls {
                        None => serve(stream, connection, &script, &log),
                        Some(tls) => {
                            let session = ServerConnection::new(tls).unwrap();
                            serve(StreamOwned::new(session, stream), connection, &script, &log);
                        }
                    }
                });
            }
        });
        Self { port, log: kept }
    }

    /// What was asked until now.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }

    /// The paths that were asked for until now.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }
}

trait Stream: Read + Write {
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Stream for StreamOwned<ServerConnection, TcpStream> {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

fn serve(stream: impl Stream, connection: usize, script: &Arc<Script>, log: &Mutex<Vec<Request>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream, connection) {
        let number = {
            let mut log = log.lock().unwrap();
            log.push(request.clone());
            log.len() - 1
        };
        if write(stream.get_mut(), &script(&request, number)).is_none() {
            let _ = stream.get_ref().socket().shutdown(Shutdown::Both);
            return;
        }
    }
}

/// A request, or nothing when the other side is gone or speaks something else.
fn read(stream: &mut BufReader<impl Stream>, connection: usize) -> Option<Request> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).ok()?;
    let first = String::from_utf8(line).ok()?;
    let mut words = first.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    if words.next() != Some("HTTP/1.1") {
        return None;
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let len = headers.get("content-length").map_or(0, |len| len.parse().unwrap());
    let mut body = vec![0; len];
    stream.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body, connection })
}

/// Writes an answer; `None` when the connection is over.
fn write(stream: &mut impl Stream, reply: &Reply) -> Option<()> {
    let mut head = format!("HTTP/1.1 {} Whatever\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let announced = reply.headers.iter().any(|(name, _)| *name == "Content-Length");
    if reply.flow == Flow::Chunked {
        head.push_str("Transfer-Encoding: chunked\r\n");
    } else if !announced {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    match reply.flow {
        Flow::Whole => stream.write_all(&reply.body).ok()?,
        Flow::Cut(len) => {
            stream.write_all(&reply.body[..len]).ok()?;
            stream.flush().ok()?;
            return None;
        }
        Flow::Stall(len) => {
            stream.write_all(&reply.body[..len]).ok()?;
            stream.flush().ok()?;
            // Until the other side has had enough.
            let _ = stream.read(&mut [0]);
            return None;
        }
        Flow::Drip => {
            for byte in &reply.body {
                stream.write_all(&[*byte]).ok()?;
                stream.flush().ok()?;
                thread::sleep(Duration::from_millis(10));
            }
        }
        Flow::Chunked => {
            for piece in reply.body.chunks(16 << 10) {
                stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).ok()?;
                stream.write_all(piece).ok()?;
                stream.write_all(b"\r\n").ok()?;
            }
            stream.write_all(b"0\r\n\r\n").ok()?;
        }
    }
    stream.flush().ok()
}

/// Somebody who vouches for servers and clients, in a folder of files.
pub(crate) struct Authority(tempfile::TempDir);

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let make = |arguments: &[&str]| {
            let key = ["req", "-x509", "-nodes", "-newkey", "ec", "-days", "30"];
            let curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1"];
            let mut openssl = Command::new("openssl");
            openssl.args(key).args(curve).args(arguments).current_dir(folder.path());
            let made = openssl.output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        make(&["-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt"]);
        for (name, other) in [
            ("server", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            ("client", "subjectAltName=DNS:device"),
        ] {
            let (key, certificate) = (format!("{name}.key"), format!("{name}.cert"));
            make(&[
                "-subj",
                "/CN=somebody",
                "-keyout",
                &key,
                "-out",
                &certificate,
                "-CA",
                "ca.crt",
                "-CAkey",
                "ca.key",
                "-addext",
                other,
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ]);
        }
        Self(folder)
    }

    /// The certificate that others believe in.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        fs::read(self.0.path().join("ca.crt")).unwrap()
    }

    /// Puts what a client shows into `folder`.
    pub(crate) fn client(&self, folder: &Path) {
        for name in ["client.cert", "client.key"] {
            fs::copy(self.0.path().join(name), folder.join(name)).unwrap();
        }
    }

    fn server(&self, asks: bool) -> Arc<ServerConfig> {
        let read = |name: &str| CertificateDer::from_pem_file(self.0.path().join(name)).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.0.path().join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(read("ca.crt")).unwrap();
            let asking = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(asking.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        Arc::new(builder.with_single_cert(vec![read("server.cert")], key).unwrap())
    }
}
