//! Answers that lie, lead astray or never end.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::device::{Device, bytes, read_all, read_part, traffic};
use crate::server::{Authority, Flow, Reply, Server};

#[test]
fn a_part_that_is_another_is_refused() {
    let blob = bytes(1000);
    let part = |range: &str, body: &[u8]| Reply::new(206, body).with("Content-Range", range);
    let replies = [
        (part("bytes 0-99/1000", &blob[..100]), "its part is bytes 0-99/1000, not 100-199"),
        (
            part("bytes 100-299/1000", &blob[100..300]),
            "its part is bytes 100-299/1000, not 100-199",
        ),
        (part("bytes 100-199/999", &blob[100..200]), "it is 999 bytes, not 1000"),
        (part("bytes 199-100/1000", &blob[100..200]), "which is no range"),
        (part("lies", &blob[100..200]), "which is no range"),
        (Reply::new(206, &blob[100..200]), "its part is nothing, which is no range"),
        (part("bytes 100-199/1000", &blob[100..150]), "the answer is 50 bytes, not 100"),
        (Reply::new(200, &blob[..999]), "the answer is 999 bytes, not 1000"),
        (Reply::new(204, b""), "status 204"),
        (Reply::new(416, b""), "with status 416"),
    ];
    for (reply, expected) in replies {
        let server = Server::plain(move |_, _| reply.clone());
        let device = Device::of(&[&server]);
        let (_, found) = device.blob(&server, &blob);
        let said = read_part(&found, 100, 100).unwrap_err();
        assert!(said.contains(expected), "{said}\n has no\n{expected}");
        assert_eq!(server.requests().len(), 1, "what is wrong is not asked for again");
    }
}

#[test]
fn more_than_was_announced_is_not_taken() {
    let blob = bytes(1000);
    let long = bytes(100_000);
    let server = Server::plain(move |_, _| {
        let range = "bytes 100-199/1000";
        Reply::new(206, &long).with("Content-Range", range).flows(Flow::Chunked)
    });
    let device = Device::of(&[&server]);
    let (_, found) = device.blob(&server, &blob);
    let said = read_part(&found, 100, 100).unwrap_err();
    assert!(said.contains("more came than was announced"), "{said}");
}

#[test]
fn a_length_that_is_a_lie_is_noticed() {
    let blob = bytes(1000);
    let held = blob.clone();
    // Announces the part, gives less, and closes.
    let server = Server::plain(move |request, _| {
        let reply = Reply::part(request, &held);
        reply.flows(Flow::Cut(50)).with("Content-Length", 100)
    });
    let device = Device::of(&[&server]);
    let (_, found) = device.blob(&server, &blob);
    let said = read_part(&found, 100, 100).unwrap_err();
    assert!(
        said.contains("the answer is 100 bytes") || said.contains("connection broke"),
        "{said}"
    );
}

#[test]
fn documents_that_never_end_are_cut_off() {
    for flow in [Flow::Whole, Flow::Chunked] {
        let endless = vec![b' '; 8 << 20];
        let server = Server::plain(move |_, _| Reply::new(200, &endless).flows(flow));
        let device = Device::of(&[&server]);
        let sources = device.sources();
        let reference = format!("docker://127.0.0.1:{}/a/b:t", server.port);
        let said = sources.offer(&reference, None).unwrap_err().to_string();
        assert!(said.ends_with("manifest t is more than 1048576 bytes"), "{said}");
        let source = sources.open(&reference.parse().unwrap()).unwrap();
        assert!(traffic(&source).bytes < 3 << 20, "{:?}", traffic(&source));
    }
}

#[test]
fn answers_that_lead_in_circles_end() {
    let server = Server::plain(|request, _| {
        Reply::new(307, b"").with("Location", format!("{}x", request.path))
    });
    let device = Device::of(&[&server]);
    let (_, found) = device.blob(&server, &bytes(10));
    let said = read_all(&found).unwrap_err();
    assert!(said.contains("and that is once too often"), "{said}");
    assert_eq!(server.requests().len(), 5);
}

#[test]
fn nothing_leads_from_tls_to_where_anybody_could_listen() {
    let authority = Authority::new();
    let store = Server::plain(|_, _| Reply::new(200, b""));
    for (to, expected) in [
        (format!("http://127.0.0.1:{}/x", store.port), "where anybody could listen"),
        ("file:///etc/passwd".to_owned(), "which is no address of the web"),
        ("ftp://127.0.0.1/x".to_owned(), "which is no address of the web"),
        ("http://[".to_owned(), "with no address"),
        // As a cyrillic letter, sent as such and as escaped bytes.
        ("https://\u{430}pple.example/x".to_owned(), "without a location"),
        ("https://%D0%B0pple.example/x".to_owned(), "with no address"),
    ] {
        let server =
            Server::tls(&authority, move |_, _| Reply::new(307, b"").with("Location", &to));
        let device = Device::believing(&authority, &server);
        let (_, found) = device.blob(&server, &bytes(10));
        let said = read_all(&found).unwrap_err();
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(store.requests().len(), 0);
}

#[test]
fn a_link_that_has_expired_is_asked_for_anew() {
    let blob = bytes(200_000);
    let held = blob.clone();
    // Each link is good for one request, and that breaks after 150,000 bytes.
    let used = Mutex::new(BTreeSet::new());
    let store = Server::plain(move |request, _| {
        if !used.lock().unwrap().insert(request.path.clone()) {
            return Reply::new(403, b"<Error>AccessDenied</Error>");
        }
        let reply = Reply::part(request, &held);
        if reply.body.len() > 150_000 { reply.flows(Flow::Cut(150_000)) } else { reply }
    });
    let port = store.port;
    // The second link is the first one again.
    let registry = Server::plain(move |_, number| {
        let link = if number == 1 { 0 } else { number };
        Reply::new(307, b"")
            .with("Location", format!("http://127.0.0.1:{port}/data?signature={link}"))
    });
    let device = Device::of(&[&registry]);
    let (source, found) = device.blob(&registry, &blob);
    assert!(read_all(&found).unwrap() == blob);
    let stored: Vec<_> = store.paths();
    assert_eq!(stored, ["/data?signature=0", "/data?signature=0", "/data?signature=2"]);
    assert_eq!(registry.requests().len(), 3);
    assert_eq!(source.detour().0, 1, "each part takes a request more");
}

#[test]
fn a_store_that_always_refuses_is_given_up_without_showing_its_link() {
    let store = Server::plain(|_, _| Reply::new(403, b""));
    let port = store.port;
    let registry = Server::plain(move |_, _| {
        Reply::new(307, b"").with("Location", format!("http://127.0.0.1:{port}/x?signature=secret"))
    });
    let device = Device::of(&[&registry]);
    let (_, found) = device.blob(&registry, &bytes(10));
    let said = read_all(&found).unwrap_err();
    assert!(said.contains("the link to it has expired (status 403)"), "{said}");
    assert!(!said.contains("secret"), "{said}");
    assert_eq!(store.requests().len(), 3);
}

#[test]
fn words_of_errors_are_short_and_plain() {
    let words =
        format!(r#"{{"errors":[{{"code":"DENIED","message":"\u001b[2J{}"}}]}}"#, "x".repeat(5000));
    let server = Server::plain(move |_, _| Reply::new(403, words.as_bytes()));
    let device = Device::of(&[&server]);
    let (source, found) = device.blob(&server, &bytes(10));
    let said = read_all(&found).unwrap_err();
    assert!(
        said.contains("asks for other credentials") && said.contains(": DENIED [2Jxxx"),
        "{said}"
    );
    assert!(said.len() < 500 && !said.contains('\u{1b}'), "{said}");
    assert_eq!(traffic(&source).wasted_bytes, traffic(&source).bytes);
}

#[test]
fn endless_words_of_errors_are_not_read() {
    let server = Server::plain(|_, _| Reply::new(500, &vec![b'x'; 4 << 20]));
    let device = Device::of(&[&server]);
    let (source, found) = device.blob(&server, &bytes(10));
    assert!(read_all(&found).unwrap_err().contains("with status 500"));
    assert_eq!(server.requests().len(), 3);
    assert!(traffic(&source).bytes < 64 << 10, "{:?}", traffic(&source));
}
