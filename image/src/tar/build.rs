//! Builds tar files for tests, byte by byte.

/// A member's header and content, padded.
pub(crate) fn member(path: &str, kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    member_with(path, kind, link, content, |_| ())
}

/// As [`member`], with the header changed before its checksum is computed.
pub(crate) fn member_with(
    path: &str,
    kind: u8,
    link: &str,
    content: &[u8],
    change: impl FnOnce(&mut [u8; 512]),
) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, path.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    change(&mut header);
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A pax header with these records.
pub(crate) fn pax(kind: u8, records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut content = Vec::new();
    for (key, value) in records {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let len =
            (1..).map(|digits| rest + digits).find(|len| len.to_string().len() + rest == *len);
        content.extend_from_slice(format!("{} {key}=", len.unwrap()).as_bytes());
        content.extend_from_slice(value);
        content.push(b'\n');
    }
    member("pax", kind, "", &content)
}

/// A tar file of these members.
pub(crate) fn tar(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 1024]].concat()
}
