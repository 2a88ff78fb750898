//! A plain file: length and body, one after the other.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;

use crate::Failure;
use crate::writer::Store;

pub(crate) struct Plain {
    file: File,
    batch: Vec<u8>,
}

impl Plain {
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        Ok(Self { file: File::create_new(path)?, batch: Vec::new() })
    }
}

impl Store for Plain {
    fn commit(&mut self, batch: &[Bytes]) -> Result<(), Failure> {
        self.batch.clear();
        for body in batch {
            self.batch.extend_from_slice(&u32::try_from(body.len())?.to_le_bytes());
            self.batch.extend_from_slice(body);
        }
        self.file.write_all(&self.batch)?;
        Ok(self.file.sync_data()?)
    }
}
