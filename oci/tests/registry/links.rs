//! Links that break, and registries that give more than was asked for.

use std::io::Read as _;
use std::time::Duration;

use gybe_oci::Reach;

use crate::device::{Device, bytes, read_all, read_part, traffic};
use crate::server::{Authority, Flow, Reply, Server};

#[test]
fn parts_are_asked_for_closed_and_come_over_one_connection() {
    let authority = Authority::new();
    let blob = bytes(300_000);
    let held = blob.clone();
    let server = Server::tls(&authority, move |request, _| Reply::part(request, &held));
    let device = Device::believing(&authority, &server);
    let (source, found) = device.blob(&server, &blob);
    let mut reader = found.reader();
    for (from, to) in [(0, 10), (500, 100_500), (299_000, 300_000)] {
        reader.seek(from as u64..to as u64);
        let mut part = Vec::new();
        reader.read_to_end(&mut part).unwrap();
        assert!(part == blob[from..to], "{from}..{to}");
    }
    let ranges: Vec<_> = server.requests().iter().map(|it| it.range().unwrap()).collect();
    assert_eq!(ranges, [(0, 10), (500, 100_500), (299_000, 300_000)]);
    assert!(server.requests().iter().all(|it| it.connection == 0), "{:?}", server.requests());
    let traffic = traffic(&source);
    assert_eq!((traffic.bytes, traffic.requests, traffic.wasted_bytes), (101_010, 3, 0));
    assert!(matches!(source.reach(), Reach::Bridged { .. }), "{:?}", source.reach());
}

#[test]
fn what_lies_in_a_gap_comes_along_and_is_left_out() {
    let blob = bytes(10_000);
    let held = blob.clone();
    let server = Server::plain(move |request, _| Reply::part(request, &held));
    let device = Device::of(&[&server]);
    let (_, found) = device.blob(&server, &blob);
    let mut reader = found.reader();
    reader.seek(1000..9000);
    let mut part = [0; 100];
    reader.read_exact(&mut part).unwrap();
    assert!(part == blob[1000..1100]);
    reader.skip_to(8900).unwrap();
    reader.read_exact(&mut part).unwrap();
    assert!(part == blob[8900..9000]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_broken_link_goes_on_at_the_byte_where_it_broke() {
    let blob = bytes(400_000);
    let held = blob.clone();
    // Every connection breaks after 70,000 bytes.
    let server = Server::plain(move |request, _| {
        let reply = Reply::part(request, &held);
        if reply.body.len() > 70_000 { reply.flows(Flow::Cut(70_000)) } else { reply }
    });
    let device = Device::of(&[&server]);
    let (source, found) = device.blob(&server, &blob);
    assert!(read_all(&found).unwrap() == blob);
    let starts: Vec<_> = server.requests().iter().map(|it| it.range().unwrap().0).collect();
    assert_eq!(starts, [0, 70_000, 140_000, 210_000, 280_000, 350_000]);
    let traffic = traffic(&source);
    assert_eq!((traffic.bytes, traffic.wasted_bytes), (400_000, 0), "no byte came twice");
}

#[test]
fn a_link_that_gets_nowhere_is_given_up() {
    let blob = bytes(400_000);
    let held = blob.clone();
    let server = Server::plain(move |request, _| Reply::part(request, &held).flows(Flow::Cut(1)));
    let device = Device::of(&[&server]);
    let (_, found) = device.blob(&server, &blob);
    let said = read_all(&found).unwrap_err();
    assert!(said.contains("connection broke"), "{said}");
    assert_eq!(server.requests().len(), 3, "as often as it may be tried");
}

#[test]
fn a_tls_link_that_is_cut_off_ends_nothing_early() {
    let authority = Authority::new();
    let blob = bytes(200_000);
    let held = blob.clone();
    let server = Server::tls(&authority, move |request, _| {
        let reply = Reply::part(request, &held);
        if reply.body.len() > 100_000 { reply.flows(Flow::Cut(100_000)) } else { reply }
    });
    let device = Device::believing(&authority, &server);
    let (_, found) = device.blob(&server, &blob);
    assert!(read_all(&found).unwrap() == blob);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_registry_without_parts_is_read_through_once() {
    let blob = bytes(500_000);
    let held = blob.clone();
    let server = Server::plain(move |_, _| Reply::new(200, &held));
    let device = Device::of(&[&server]);
    let (source, found) = device.blob(&server, &blob);
    let mut reader = found.reader();
    for (from, to) in [(1000, 2000), (100_000, 150_000), (499_999, 500_000)] {
        reader.seek(from as u64..to as u64);
        let mut part = Vec::new();
        reader.read_to_end(&mut part).unwrap();
        assert!(part == blob[from..to], "{from}..{to}");
    }
    assert_eq!(server.requests().len(), 1, "everything came with the first answer");
    let traffic = traffic(&source);
    assert_eq!((traffic.bytes, traffic.wasted_bytes), (500_000, 500_000 - 51_001));
    assert_eq!(source.reach(), Reach::Whole);
}

#[test]
fn a_registry_without_parts_that_breaks_begins_anew_and_says_what_that_cost() {
    let blob = bytes(300_000);
    let held = blob.clone();
    let server = Server::plain(move |_, number| {
        let reply = Reply::new(200, &held);
        if number == 0 { reply.flows(Flow::Cut(200_000)) } else { reply }
    });
    let device = Device::of(&[&server]);
    let (source, found) = device.blob(&server, &blob);
    assert!(read_all(&found).unwrap() == blob);
    let traffic = traffic(&source);
    assert_eq!((traffic.bytes, traffic.wasted_bytes), (500_000, 200_000));
}

#[test]
fn an_answer_that_is_shorter_than_asked_is_completed() {
    let blob = bytes(1000);
    let held = blob.clone();
    let server = Server::plain(move |request, _| {
        let (from, to) = request.range().unwrap();
        let to = to.min(from + 400);
        Reply::new(206, &held[from..to])
            .with("Content-Range", format!("bytes {from}-{}/1000", to - 1))
    });
    let device = Device::of(&[&server]);
    let (_, found) = device.blob(&server, &blob);
    assert!(read_part(&found, 100, 900).unwrap() == blob[100..]);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn silence_ends_at_its_limit() {
    let blob = bytes(1000);
    let held = blob.clone();
    let server =
        Server::plain(move |request, _| Reply::part(request, &held).flows(Flow::Stall(10)));
    let mut device = Device::of(&[&server]);
    device.access.limits.stall = Duration::from_millis(100);
    let (_, found) = device.blob(&server, &blob);
    let said = read_all(&found).unwrap_err();
    assert!(said.contains("no answer within 0.1 s"), "{said}");
}

#[test]
fn drips_end_at_the_least_rate() {
    let blob = bytes(1000);
    let held = blob.clone();
    let server = Server::plain(move |request, _| Reply::part(request, &held).flows(Flow::Drip));
    let mut device = Device::of(&[&server]);
    // A hundred bytes a second come at most.
    device.access.limits.rate_min = 10_000;
    let (_, found) = device.blob(&server, &blob);
    let said = read_all(&found).unwrap_err();
    assert!(said.contains("slower than 10000 bytes a second"), "{said}");
}

#[test]
fn everything_together_has_a_limit() {
    let blob = bytes(100_000);
    let held = blob.clone();
    let server = Server::plain(move |request, _| Reply::part(request, &held).flows(Flow::Drip));
    let mut device = Device::of(&[&server]);
    device.access.limits.overall = Duration::from_millis(300);
    let (_, found) = device.blob(&server, &blob);
    let said = read_all(&found).unwrap_err();
    assert!(said.contains("not done within"), "{said}");
}

#[test]
fn no_more_is_asked_for_than_the_budget_has() {
    let blob = bytes(100_000);
    let held = blob.clone();
    let server = Server::plain(move |request, _| Reply::part(request, &held));
    let mut device = Device::of(&[&server]);
    device.access.max_bytes = Some(50_000);
    let (source, found) = device.blob(&server, &blob);
    assert!(read_part(&found, 0, 40_000).is_ok());
    assert_eq!(source.budget_left(), Some(10_000));
    let said = read_part(&found, 40_000, 10_001).unwrap_err();
    let expected = "more than 50000 bytes would be received: 40000 have been, 10001 are wanted";
    assert_eq!(said, expected);
    assert_eq!(server.requests().len(), 1, "what is too much is not asked for");
    assert!(read_part(&found, 40_000, 10_000).is_ok());
}

#[test]
fn a_budget_holds_for_what_was_not_asked_for() {
    let blob = bytes(500_000);
    let held = blob.clone();
    let server = Server::plain(move |_, _| Reply::new(200, &held));
    let mut device = Device::of(&[&server]);
    device.access.max_bytes = Some(100_000);
    let (source, found) = device.blob(&server, &blob);
    let said = read_part(&found, 400_000, 10).unwrap_err();
    assert!(said.starts_with("more than 100000 bytes would be received"), "{said}");
    assert!(traffic(&source).bytes <= 100_000 + 500_000 / 4, "{:?}", traffic(&source));
}

#[test]
fn a_busy_registry_is_asked_again_when_it_says() {
    let blob = bytes(1000);
    for header in ["0", "Thu, 26 Nov 2026 22:00:00 GMT"] {
        let held = blob.clone();
        let server = Server::plain(move |request, number| match number {
            0 => Reply::new(429, b"{}")
                .with("Retry-After", header)
                .with("Date", "Thu, 26 Nov 2026 22:00:00 GMT"),
            1 => Reply::new(503, b"").with("Retry-After", header),
            _ => Reply::part(request, &held),
        });
        let device = Device::of(&[&server]);
        let (_, found) = device.blob(&server, &blob);
        assert!(read_all(&found).unwrap() == blob);
        assert_eq!(server.requests().len(), 3);
    }
}

#[test]
fn a_registry_that_stays_busy_or_asks_for_too_long_a_wait_is_left_alone() {
    let blob = bytes(10);
    for (after, count, expected) in [
        ("0", 3, "is busy (status 429)"),
        ("6", 1, "asks to wait 6 s, limit 5 s"),
        ("99999999999", 1, "limit 5 s"),
    ] {
        let server = Server::plain(move |_, _| Reply::new(429, b"").with("Retry-After", after));
        let device = Device::of(&[&server]);
        let (_, found) = device.blob(&server, &blob);
        let said = read_all(&found).unwrap_err();
        assert!(said.contains(expected), "{said}");
        assert_eq!(server.requests().len(), count, "{after}");
    }
}
