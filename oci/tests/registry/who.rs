//! Who is told who we are.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::device::{Device, bytes, read_all};
use crate::server::{Authority, Reply, Request, Server};

const BASIC: &str = "Basic ZGV2aWNlOnNlY3JldA==";

fn unauthorized(challenge: &str) -> Reply {
    Reply::new(401, br#"{"errors":[{"code":"UNAUTHORIZED","message":"who"}]}"#)
        .with("WWW-Authenticate", challenge)
}

fn told(requests: &[Request]) -> Vec<Option<&str>> {
    requests.iter().map(|request| request.header("authorization")).collect()
}

#[test]
fn a_password_is_told_when_it_is_asked_for_and_kept_for_the_next_request() {
    let blob = bytes(100);
    let held = blob.clone();
    let server = Server::plain(move |request, _| match request.header("authorization") {
        Some(BASIC) => Reply::part(request, &held),
        _ => unauthorized("Basic realm=\"x\""),
    });
    let device = Device::of(&[&server]);
    device.login(&format!("127.0.0.1:{}/a", server.port), "device", "secret");
    let (_, found) = device.blob(&server, &blob);
    assert!(read_all(&found).unwrap() == blob);
    assert!(read_all(&found).unwrap() == blob);
    assert_eq!(told(&server.requests()), [None, Some(BASIC), Some(BASIC)]);
}

#[test]
fn a_wrong_password_is_told_once() {
    let server = Server::plain(|_, _| unauthorized("Basic realm=\"x\""));
    let device = Device::of(&[&server]);
    device.login(&format!("127.0.0.1:{}", server.port), "device", "secret");
    let (_, found) = device.blob(&server, &bytes(10));
    let said = read_all(&found).unwrap_err();
    assert!(said.contains("asks for other credentials for sha256:"), "{said}");
    assert!(said.ends_with(": UNAUTHORIZED who") && !said.contains("secret"), "{said}");
    assert_eq!(told(&server.requests()), [None, Some(BASIC)]);
}

#[test]
fn without_a_password_none_is_asked_for_in_vain() {
    let server = Server::plain(|_, _| unauthorized("Basic realm=\"x\""));
    let device = Device::of(&[&server]);
    let (_, found) = device.blob(&server, &bytes(10));
    let said = read_all(&found).unwrap_err();
    assert!(said.ends_with("and there are none: UNAUTHORIZED who"), "{said}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_token_is_got_with_the_password_and_renewed_once_when_it_ends() {
    let blob = bytes(100);
    let held = blob.clone();
    let given = AtomicUsize::new(0);
    // Each token is good for two requests.
    let used = AtomicUsize::new(0);
    let server = Server::plain(move |request, _| {
        if request.path.starts_with("/token") {
            let number = given.fetch_add(1, Ordering::SeqCst);
            used.store(0, Ordering::SeqCst);
            return Reply::new(200, format!(r#"{{"token":"t{number}"}}"#).as_bytes());
        }
        let good = format!("Bearer t{}", given.load(Ordering::SeqCst).wrapping_sub(1));
        if request.header("authorization") == Some(&good) && used.fetch_add(1, Ordering::SeqCst) < 2
        {
            return Reply::part(request, &held);
        }
        let host = request.header("host").unwrap();
        unauthorized(&format!("Bearer realm=\"http://{host}/token\",service=\"s\",scope=\"all\""))
    });
    let device = Device::of(&[&server]);
    device.login(&format!("127.0.0.1:{}", server.port), "device", "secret");
    let (_, found) = device.blob(&server, &blob);
    for _ in 0..4 {
        assert!(read_all(&found).unwrap() == blob);
    }
    let requests = server.requests();
    let tokens: Vec<_> = requests.iter().filter(|it| it.path.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 2);
    // Never more is asked for than reading this repository, whatever the registry names.
    assert!(tokens.iter().all(|it| it.path == "/token?service=s&scope=repository%3Aa%2Fb%3Apull"));
    assert!(tokens.iter().all(|it| it.header("authorization") == Some(BASIC)));
    let others: Vec<_> = requests.iter().filter(|it| !it.path.starts_with("/token")).collect();
    assert!(others.iter().all(|it| it.header("authorization") != Some(BASIC)));
}

#[test]
fn a_token_that_is_never_good_is_got_once() {
    let server = Server::plain(move |request, _| {
        if request.path.starts_with("/token") {
            return Reply::new(200, br#"{"access_token":"t"}"#);
        }
        let host = request.header("host").unwrap();
        unauthorized(&format!("Bearer realm=\"http://{host}/token\""))
    });
    let device = Device::of(&[&server]);
    let (_, found) = device.blob(&server, &bytes(10));
    let said = read_all(&found).unwrap_err();
    assert!(said.contains("asks for other credentials"), "{said}");
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn an_identity_token_is_posted_not_shown_in_an_address() {
    let blob = bytes(100);
    let held = blob.clone();
    let server = Server::plain(move |request, _| {
        if request.path == "/token" {
            return Reply::new(200, br#"{"access_token":"t"}"#);
        }
        if request.header("authorization") == Some("Bearer t") {
            return Reply::part(request, &held);
        }
        let host = request.header("host").unwrap();
        unauthorized(&format!("Bearer realm=\"http://{host}/token\",service=\"s\""))
    });
    let device = Device::of(&[&server]);
    let text = format!(r#"{{"auths":{{"127.0.0.1:{}":{{"identitytoken":"i d"}}}}}}"#, server.port);
    device.write("etc/gybe/auth.json", text);
    let (_, found) = device.blob(&server, &blob);
    assert!(read_all(&found).unwrap() == blob);
    let requests = server.requests();
    let token = requests.iter().find(|it| it.path == "/token").unwrap();
    let body = String::from_utf8(token.body.clone()).unwrap();
    assert_eq!(token.method, "POST");
    assert!(
        body.contains("grant_type=refresh_token") && body.contains("refresh_token=i+d"),
        "{body}"
    );
}

#[test]
fn no_stranger_gives_out_tokens() {
    let evil = Server::plain(|_, _| Reply::new(200, br#"{"token":"t"}"#));
    let authority = Authority::new();
    let port = evil.port;
    for (realm, expected) in [
        (
            "https://localhost:1/token".to_owned(),
            "localhost:1, which registry.token_hosts does not name",
        ),
        (format!("http://127.0.0.1:{port}/token"), "where anybody could listen"),
        ("nonsense".to_owned(), "nonsense, which is no address"),
    ] {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
        let server = Server::tls(&authority, move |_, _| unauthorized(&challenge));
        let device = Device::believing(&authority, &server);
        device.login(&format!("127.0.0.1:{}", server.port), "device", "secret");
        let (_, found) = device.blob(&server, &bytes(10));
        let said = read_all(&found).unwrap_err();
        assert!(said.contains(expected), "{said}\n has no\n{expected}");
    }
    assert_eq!(evil.requests().len(), 0);
}

#[test]
fn who_gives_out_tokens_may_be_configured() {
    let authority = Authority::new();
    let giver = Server::tls(&authority, |_, _| Reply::new(200, br#"{"token":"t"}"#));
    let host = format!("localhost:{}", giver.port);
    let blob = bytes(100);
    let held = blob.clone();
    let challenge = format!("Bearer realm=\"https://{host}/token\"");
    let server = Server::tls(&authority, move |request, _| match request.header("authorization") {
        Some("Bearer t") => Reply::part(request, &held),
        _ => unauthorized(&challenge),
    });
    let mut device = Device::believing(&authority, &server);
    device.write(&format!("etc/containers/certs.d/{host}/ca.crt"), authority.certificate());
    device.login(&format!("127.0.0.1:{}", server.port), "device", "secret");
    device.access.token_hosts = vec![host];
    let (_, found) = device.blob(&server, &blob);
    assert!(read_all(&found).unwrap() == blob);
    assert_eq!(told(&giver.requests()), [Some(BASIC)]);
}

#[test]
fn credentials_do_not_follow_to_a_store() {
    let blob = bytes(100);
    let held = blob.clone();
    let store = Server::plain(move |request, _| Reply::part(request, &held));
    let port = store.port;
    let registry = Server::plain(move |request, _| match request.header("authorization") {
        Some(BASIC) => Reply::new(307, b"").with("Location", format!("http://127.0.0.1:{port}/x")),
        _ => unauthorized("Basic realm=\"x\""),
    });
    let device = Device::of(&[&registry]);
    device.login("127.0.0.1", "nobody", "nothing");
    device.login(&format!("127.0.0.1:{}", registry.port), "device", "secret");
    let (_, found) = device.blob(&registry, &blob);
    assert!(read_all(&found).unwrap() == blob);
    assert_eq!(told(&registry.requests()), [None, Some(BASIC)]);
    assert_eq!(told(&store.requests()), [None]);
}

#[test]
fn a_store_that_asks_who_we_are_is_not_told() {
    let store = Server::plain(|_, _| unauthorized("Basic realm=\"x\""));
    let port = store.port;
    let registry = Server::plain(move |_, _| {
        Reply::new(302, b"").with("Location", format!("http://127.0.0.1:{port}/x"))
    });
    let device = Device::of(&[&registry]);
    device.login(&format!("127.0.0.1:{}", registry.port), "device", "secret");
    device.login(&format!("127.0.0.1:{port}"), "device", "secret");
    let (_, found) = device.blob(&registry, &bytes(10));
    assert!(read_all(&found).unwrap_err().contains("has expired (status 401)"));
    assert!(told(&store.requests()).iter().all(Option::is_none));
}

#[test]
fn only_certificates_that_somebody_vouches_for_are_believed() {
    let (authority, other) = (Authority::new(), Authority::new());
    let blob = bytes(100);
    let held = blob.clone();
    let server = Server::tls(&authority, move |request, _| Reply::part(request, &held));
    let stranger = Device::believing(&other, &server);
    let (_, found) = stranger.blob(&server, &blob);
    let said = read_all(&found).unwrap_err();
    assert!(said.contains("its certificate is not believed"), "{said}");
    assert_eq!(server.requests().len(), 0);
    // The bundle of the system counts as well.
    let device = Device::new();
    device.write("etc/ssl/certs/ca-certificates.crt", authority.certificate());
    let (_, found) = device.blob(&server, &blob);
    assert!(read_all(&found).unwrap() == blob);
    // A registry that is called insecure may show anything.
    let careless = Device::of(&[&server]);
    let (_, found) = careless.blob(&server, &blob);
    assert!(read_all(&found).unwrap() == blob);
}

#[test]
fn a_client_certificate_is_shown_where_one_is_asked_for() {
    let authority = Authority::new();
    let blob = bytes(100);
    let held = blob.clone();
    let server = Server::tls_for_some(&authority, move |request, _| Reply::part(request, &held));
    let device = Device::believing(&authority, &server);
    let (_, found) = device.blob(&server, &blob);
    assert!(read_all(&found).is_err());
    let device = Device::believing(&authority, &server);
    let folder = format!("etc/containers/certs.d/127.0.0.1:{}", server.port);
    authority.client(&device.path(&folder));
    let (_, found) = device.blob(&server, &blob);
    assert!(read_all(&found).unwrap() == blob);
}
