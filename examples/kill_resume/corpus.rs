//! The demo's corpus in the forms that the configurations ask for.

use packmill::corpus::open_file;
use packmill::read::open_shards;
use packmill::read::recompress::{Existing, Frames, recompress, recompressed_path};
use packmill::recipe::Io;
use std::path::Path;

/// Writes the tokenizer, and the demo's corpora as they are, in `chats` and `sums`; and the chats in small frames
/// twice, in `frames` and `more`.
pub(crate) fn write(folder: &Path) {
    let recipe = crate::common::recipe();
    let demo = recipe.parent().unwrap();
    for name in ["tokenizer", "chats", "sums", "frames", "more"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    for file in std::fs::read_dir(demo.join("tokenizer")).unwrap().flatten() {
        std::fs::copy(file.path(), folder.join("tokenizer").join(file.file_name())).unwrap();
    }
    let shards = std::fs::read_dir(demo.join("corpora")).unwrap().flatten();
    for shard in shards.map(|shard| shard.path()) {
        let name = shard.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("sums-") {
            std::fs::copy(&shard, folder.join("sums").join(&name)).unwrap();
            continue;
        }
        std::fs::copy(&shard, folder.join("chats").join(&name)).unwrap();
        let shard = open_shards(&[open_file(&shard).unwrap()], Io::Pread).unwrap();
        for (form, frame_bytes) in [("frames", 16 << 10), ("more", 24 << 10)] {
            let frames = Frames::new(frame_bytes, 3).unwrap();
            let target = recompressed_path(Path::new(&name), Some(&folder.join(form))).unwrap();
            recompress(
                &shard[0],
                &target,
                frames,
                Existing::Refuse,
                &mut |_| Ok(()),
            )
            .unwrap();
        }
    }
}
