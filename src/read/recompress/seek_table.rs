//! The seek table of zstd's seekable format, version 0.1.0 (`contrib/seekable_format` of zstd).
//!
//! A skippable frame behind all others: 8 bytes a frame, stored and decoded size, then a footer of 9 bytes that a
//! reader finds from the file's end. Packmill does not read it: a table can be wrong, and frames say the same.

/// `0x5E` of the sixteen magic numbers that mark skippable frames is the format's by convention.
const SKIPPABLE: u32 = 0x184d_2a5e;
const SEEKABLE: u32 = 0x8f92_eab1;
/// Most frames that the format allows.
const MOST_FRAMES: usize = 0x800_0000;

/// Sizes of the frames so far.
#[derive(Debug, Default)]
pub(super) struct SeekTable {
    /// Stored and decoded bytes.
    frames: Vec<(u32, u32)>,
    /// A frame does not fit the format.
    unfit: bool,
}

impl SeekTable {
    /// Adds a frame.
    pub(super) fn push(&mut self, stored_bytes: usize, text_bytes: usize) {
        match (u32::try_from(stored_bytes), u32::try_from(text_bytes)) {
            (Ok(stored), Ok(text)) if self.frames.len() < MOST_FRAMES && !self.unfit => {
                self.frames.push((stored, text));
            }
            _ => (self.unfit, self.frames) = (true, Vec::new()),
        }
    }

    /// The skippable frame; none where the frames are more than the format allows.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        if self.unfit {
            return None;
        }
        let count = u32::try_from(self.frames.len()).ok()?;
        let len = self.frames.len() * 8 + 9;
        let mut bytes = Vec::with_capacity(8 + len);
        bytes.extend(SKIPPABLE.to_le_bytes());
        bytes.extend(u32::try_from(len).ok()?.to_le_bytes());
        for (stored, text) in &self.frames {
            bytes.extend(stored.to_le_bytes());
            bytes.extend(text.to_le_bytes());
        }
        bytes.extend(count.to_le_bytes());
        // Descriptor: no checksums here, every frame has its own.
        bytes.push(0);
        bytes.extend(SEEKABLE.to_le_bytes());
        Some(bytes)
    }
}
