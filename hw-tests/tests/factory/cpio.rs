//! An initramfs of a program and a script, without root and without cpio.
//!
//! Source: Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`.

/// An archive of `newc` entries.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    count: u32,
}

impl Archive {
    pub(crate) fn directory(self, name: &str) -> Self {
        self.entry(name, 0o040_755, &[], (0, 0))
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(name, 0o100_755, content, (0, 0))
    }

    /// A character device.
    pub(crate) fn device(self, name: &str, numbers: (u32, u32)) -> Self {
        self.entry(name, 0o020_600, &[], numbers)
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[], (0, 0)).bytes
    }

    fn entry(mut self, name: &str, mode: u32, content: &[u8], (major, minor): (u32, u32)) -> Self {
        self.count += 1;
        let content_len = u32::try_from(content.len()).unwrap();
        let name_len = u32::try_from(name.len() + 1).unwrap();
        let links = 1;
        let fields =
            [self.count, mode, 0, 0, links, 0, content_len, 0, 0, major, minor, name_len, 0];
        self.bytes.extend(b"070701");
        fields.iter().for_each(|field| self.bytes.extend(format!("{field:08X}").bytes()));
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }
}
