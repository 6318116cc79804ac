//! As much of Thrift's compact protocol as it takes to look at a Parquet footer and at page headers before they are
//! believed: what they count and how deep they nest, never what they mean.

use super::MAX_DEPTH;

/// Why something was not understood: a clause.
pub(super) type Refused = &'static str;

const ENDS_EARLY: Refused = "a header ends early";

/// The wire types that are told apart here.
const BOOL_TRUE: u8 = 1;
const BOOL_FALSE: u8 = 2;
const I32: u8 = 5;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Deepest nesting that is passed over.
const SKIP_DEPTH: u32 = 32;

/// A walk over encoded bytes.
pub(super) struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A struct's field that comes next.
struct Field {
    id: i16,
    wire: u8,
}

/// What a page's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PageHeader {
    /// Bytes of the header itself.
    pub(super) len: usize,
    /// 0: data, 1: index, 2: dictionary, 3: data of version 2.
    pub(super) kind: i64,
    /// Bytes of the page, decompressed.
    pub(super) uncompressed: i64,
    /// Bytes of the page as it is stored.
    pub(super) compressed: i64,
    /// Values, nulls included.
    pub(super) values: i64,
    /// How they are encoded.
    pub(super) encoding: i64,
    /// In version 2, bytes of levels before what is compressed.
    pub(super) levels: i64,
    /// In version 2, whether the values are stored as they are.
    pub(super) plain: bool,
}

/// Whether a footer is encrypted, after a look at how its schema nests: the crate that reads it recurses.
pub(super) fn check_footer(bytes: &[u8]) -> Result<bool, Refused> {
    let mut footer = Compact { bytes, at: 0 };
    let (mut last, mut encrypted) = (0, false);
    while let Some(field) = footer.field(&mut last)? {
        match (field.id, field.wire) {
            (2, LIST) => footer.schema()?,
            (8, _) => {
                encrypted = true;
                footer.skip(field.wire, SKIP_DEPTH)?;
            }
            (_, wire) => footer.skip(wire, SKIP_DEPTH)?,
        }
    }
    Ok(encrypted)
}

/// Reads the page header that `bytes` begin with.
pub(super) fn page_header(bytes: &[u8]) -> Result<PageHeader, Refused> {
    let mut walk = Compact { bytes, at: 0 };
    let mut header = PageHeader::default();
    let mut last = 0;
    while let Some(field) = walk.field(&mut last)? {
        match (field.id, field.wire) {
            (1, I32) => header.kind = walk.zigzag()?,
            (2, I32) => header.uncompressed = walk.zigzag()?,
            (3, I32) => header.compressed = walk.zigzag()?,
            // Of a data page, a dictionary page and a data page of version 2.
            (5 | 7, STRUCT) => walk.values(&mut header, 2)?,
            (8, STRUCT) => walk.values(&mut header, 4)?,
            (_, wire) => walk.skip(wire, SKIP_DEPTH)?,
        }
    }
    header.len = walk.at;
    Ok(header)
}

impl Compact<'_> {
    fn values(&mut self, header: &mut PageHeader, encoding: i16) -> Result<(), Refused> {
        let mut last = 0;
        while let Some(field) = self.field(&mut last)? {
            match (field.id, field.wire) {
                (1, I32) => header.values = self.zigzag()?,
                (id, I32) if id == encoding => header.encoding = self.zigzag()?,
                (5 | 6, I32) if encoding == 4 => {
                    header.levels = header.levels.saturating_add(self.zigzag()?);
                }
                (7, BOOL_FALSE) if encoding == 4 => header.plain = true,
                (_, wire) => self.skip(wire, SKIP_DEPTH)?,
            }
        }
        Ok(())
    }

    /// Passes over the list of a schema's elements, which is a tree in preorder.
    fn schema(&mut self) -> Result<(), Refused> {
        let (wire, elements) = self.list()?;
        if wire != STRUCT {
            return Err("its schema is no list of elements");
        }
        // Of each open group, how many children are still to come.
        let mut open: Vec<u64> = Vec::new();
        for element in 0..elements {
            let mut children = 0;
            let mut last = 0;
            while let Some(field) = self.field(&mut last)? {
                match (field.id, field.wire) {
                    (5, I32) => children = self.zigzag()?,
                    (_, wire) => self.skip(wire, SKIP_DEPTH)?,
                }
            }
            let left = elements - element - 1;
            let children = u64::try_from(children).ok().filter(|n| *n <= left);
            let children = children.ok_or("its schema counts more columns than it has")?;
            while open.last() == Some(&0) {
                open.pop();
            }
            if let Some(parent) = open.last_mut() {
                *parent -= 1;
            }
            if children > 0 {
                open.push(children);
            }
            // A list is two groups in Parquet.
            if open.len() > 2 * MAX_DEPTH {
                return Err("its schema nests too deeply");
            }
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Refused> {
        let byte = self.bytes.get(self.at).copied().ok_or(ENDS_EARLY)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, Refused> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is too long")
    }

    fn zigzag(&mut self) -> Result<i64, Refused> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The next field of a struct; none at its end.
    fn field(&mut self, last: &mut i16) -> Result<Option<Field>, Refused> {
        let head = self.byte()?;
        let wire = head & 0x0f;
        if wire == 0 {
            return Ok(None);
        }
        let id = match head >> 4 {
            0 => i16::try_from(self.zigzag()?).map_err(|_| "a field has no number")?,
            delta => last
                .checked_add(i16::from(delta))
                .ok_or("a field has no number")?,
        };
        *last = id;
        Ok(Some(Field { id, wire }))
    }

    /// A list's wire type and length.
    fn list(&mut self) -> Result<(u8, u64), Refused> {
        let head = self.byte()?;
        let len = match head >> 4 {
            15 => self.varint()?,
            len => u64::from(len),
        };
        // An element has a byte at least.
        match len <= (self.bytes.len() - self.at) as u64 {
            true => Ok((head & 0x0f, len)),
            false => Err(ENDS_EARLY),
        }
    }

    fn pass(&mut self, bytes: u64) -> Result<(), Refused> {
        let end = usize::try_from(bytes)
            .ok()
            .and_then(|n| self.at.checked_add(n));
        match end {
            Some(end) if end <= self.bytes.len() => {
                self.at = end;
                Ok(())
            }
            _ => Err(ENDS_EARLY),
        }
    }

    /// Passes over a field's value.
    fn skip(&mut self, wire: u8, depth: u32) -> Result<(), Refused> {
        match wire {
            BOOL_TRUE | BOOL_FALSE => Ok(()),
            _ => self.skip_element(wire, depth),
        }
    }

    /// Passes over an element of a collection, where a boolean has a byte of its own.
    fn skip_element(&mut self, wire: u8, depth: u32) -> Result<(), Refused> {
        let Some(below) = depth.checked_sub(1) else {
            return Err("a header nests too deeply");
        };
        match wire {
            BOOL_TRUE | BOOL_FALSE | 3 => self.pass(1),
            4..=6 => self.varint().map(drop),
            7 => self.pass(8),
            8 => {
                let len = self.varint()?;
                self.pass(len)
            }
            LIST | 10 => {
                let (wire, len) = self.list()?;
                (0..len).try_for_each(|_| self.skip_element(wire, below))
            }
            11 => {
                let len = self.varint()?;
                if len == 0 {
                    return Ok(());
                }
                let wires = self.byte()?;
                (0..len).try_for_each(|_| {
                    self.skip_element(wires >> 4, below)?;
                    self.skip_element(wires & 0x0f, below)
                })
            }
            STRUCT => {
                let mut last = 0;
                while let Some(field) = self.field(&mut last)? {
                    self.skip(field.wire, below)?;
                }
                Ok(())
            }
            13 => self.pass(16),
            _ => Err("a field is of no type"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer of nothing but a schema: an element for each of these counts of children.
    fn footer(children: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x29, 0xfc, children.len() as u8];
        for n in children {
            bytes.extend([0x55, n << 1, 0]);
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn a_schema_may_be_wide_and_must_not_be_deep() {
        assert_eq!(check_footer(&footer(&[2, 1, 0, 0])), Ok(false));
        assert_eq!(check_footer(&footer(&[0; 100])), Ok(false));
        assert!(
            check_footer(&footer(&[2, 0]))
                .unwrap_err()
                .contains("counts more")
        );
        let mut deep = vec![0x29, 0xfc, 0x80, 0x20];
        for n in 0..4096 {
            deep.extend([0x55, if n < 4095 { 2 } else { 0 }, 0]);
        }
        deep.push(0);
        assert!(check_footer(&deep).unwrap_err().contains("nests"));
    }

    #[test]
    fn an_encrypted_footer_is_told() {
        assert_eq!(check_footer(&[0x8c, 0, 0]), Ok(true));
    }

    #[test]
    fn every_cut_of_a_page_header_is_told() {
        // kind 0, 300 bytes of 200, {5: {1: 7 values, 2: encoding 3}}
        let header = [
            0x15, 0, 0x15, 0xd8, 4, 0x15, 0x90, 3, 0x2c, 0x15, 14, 0x15, 6, 0, 0,
        ];
        let read = page_header(&header).unwrap();
        assert_eq!(
            (
                read.len,
                read.uncompressed,
                read.compressed,
                read.values,
                read.encoding
            ),
            (header.len(), 300, 200, 7, 3)
        );
        for cut in 0..header.len() {
            assert_eq!(page_header(&header[..cut]), Err(ENDS_EARLY), "cut at {cut}");
        }
    }
}
