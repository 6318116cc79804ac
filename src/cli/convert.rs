//! `packmill convert`: another tool's configuration as a recipe.

use crate::cli::{args, stdio, usage};
use crate::recipe::convert::{Beside, Dialect, convert, read};
use anyhow::{Context, Result};
use serde_json::{Map, Value};
use std::path::Path;

pub(crate) fn run(args: &args::Convert) -> Result<()> {
    let name = args.config.display().to_string();
    let text =
        std::fs::read_to_string(&args.config).with_context(|| format!("cannot read {name}"))?;
    let config = read(&text, &name)?;
    let dialect = args
        .from
        .map(Dialect::from)
        .or_else(|| Dialect::of(&config));
    let Some(dialect) = dialect else {
        return Err(usage(format!(
            "{name} is no configuration that is known; say whose it is with --from"
        )));
    };
    let beside = Beside {
        world_size: args.world_size,
        dataset_info: dataset_info(args, &config)?,
        ..Beside::default()
    };
    let converted = convert(dialect, &config, &beside);
    stdio::print(format_args!(
        "# From {name}, a configuration of {dialect}.\n{converted}"
    ))
}

/// What describes LLaMA-Factory's data sets: the file that was named, or the one in their folder, as seen from here or from
/// the configuration.
fn dataset_info(args: &args::Convert, config: &Map<String, Value>) -> Result<Option<Value>> {
    let folder = Path::new(
        config
            .get("dataset_dir")
            .and_then(Value::as_str)
            .unwrap_or("data"),
    );
    let beside = args.config.parent().unwrap_or(Path::new("")).join(folder);
    let found = [folder, &beside]
        .into_iter()
        .map(|folder| folder.join("dataset_info.json"));
    let path = match &args.dataset_info {
        Some(path) => Some(path.clone()),
        None => found.into_iter().find(|path| path.is_file()),
    };
    let Some(path) = path else { return Ok(None) };
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let info =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
    Ok(Some(info))
}
