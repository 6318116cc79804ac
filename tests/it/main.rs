//! One integration binary; each module says what belongs there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::single_range_in_vec_init,
    clippy::needless_range_loop,
    reason = "tests may"
)]

mod corpus; // what tests stream: a tiny tokenizer, a template, chats, shards in every codec

#[cfg(feature = "columnar")]
mod columnar; // Parquet and Arrow IPC: the stream of the same rows as JSON lines

mod checkpoints; // the same from the command line: ranks, --resume, refusals
mod cli; // the command line: exit codes, --json, files written
mod faults; // damaged inputs: one clear error that names shard and record, or a counted drop
mod fork; // a checkpoint carried into a changed recipe: nothing twice, nothing lost
mod functions; // functions over records: rewritten, left out, refused
mod global; // plan: global: exact epochs on any number of ranks, planned from lengths that are counted once
mod golden; // the order, frozen
mod hostile; // hostile input, each kind by itself: one error or a counted drop
mod mask_policies; // what is trained under each policy, end to end
mod oracle; // equality with the reference, where it is installed
mod per_turn; // render: per_turn: each turn as the model is asked for it, counted and resumed
mod recompress; // recompress and index: the same records in small frames, edits named
mod resume; // ranks and checkpoints: the rows of the uninterrupted stream
mod same_stream; // workers, prefetch, io, codecs, held and streamed: the same rows
mod selection; // filter, split, duplicates: what a plain loop over the rows keeps, and where the rest is
mod shutdown; // early drop, slow consumers, foreign runtimes: a clean join, never a hang
mod special_tokens; // what rows spell: tokens, text, or bad records
mod untagged; // spans of templates without generation tags, beside their tagged twins
mod verify; // verify of a corpus: what is wrong, where
mod warnings; // each warning brought about by its cause, and by nothing else
mod weights; // what rows say of the loss: weights of messages, parts, characters and tokens
