//! The demo's second source: word problems as `prompt` and `completion`, worked out step by step.

use super::chats::message;
use super::grammar::{Grammar, Voice};
use super::random::Random;
use serde_json::{Value, json};

/// One problem with its answer, which is always right.
pub(crate) fn sum(grammar: &Grammar<'_>, random: &mut Random) -> anyhow::Result<Value> {
    let mut voice = Voice::new(grammar);
    let name = voice.say(random, "name")?;
    let goods = voice.say(random, "goods")?;
    let (problem, answer) = match random.below(3) {
        0 => change(random, &name, &goods),
        1 => share(random, &name, &goods),
        _ => journey(random, &name),
    };
    Ok(json!({
        "prompt": [message("user", problem)],
        "completion": [message("assistant", answer)],
    }))
}

fn change(random: &mut Random, name: &str, goods: &str) -> (String, String) {
    let count = random.between(3, 12);
    let price = random.between(2, 16) * 5;
    let cost = count * price;
    let paid = cost.div_ceil(500) * 500;
    (
        format!(
            "{name} buys {count} {goods} at {price} cents each and pays with {} euros. How much change is there?",
            paid / 100
        ),
        format!(
            "{count} {goods} cost {count} × {price} = {cost} cents. {} euros are {paid} cents. The change is \
             {paid} − {cost} = {} cents.\n#### {}",
            paid / 100,
            paid - cost,
            paid - cost
        ),
    )
}

fn share(random: &mut Random, name: &str, goods: &str) -> (String, String) {
    let friends = random.between(2, 9);
    let each = random.between(3, 20);
    let left = random.below(friends);
    let all = friends * each + left;
    let rest = match left {
        0 => "Nothing is left over.".to_owned(),
        _ => format!(
            "{friends} × {each} = {}, so {left} are left over.",
            friends * each
        ),
    };
    (
        format!(
            "{name} shares {all} {goods} evenly among {friends} friends. How many does each friend get?"
        ),
        format!(
            "{all} ÷ {friends} is {each}, leaving out what cannot be shared. {rest}\n#### {each}"
        ),
    )
}

fn journey(random: &mut Random, name: &str) -> (String, String) {
    let speed = random.between(3, 9) * 10;
    let hours = random.between(2, 6);
    let first = random.between(1, hours - 1);
    (
        format!(
            "{name} drives for {hours} hours at {speed} km/h on average. After {first} h there is a break. How far is \
             it from the break to the end?"
        ),
        format!(
            "After the break there are {hours} − {first} = {} hours left. That makes {} × {speed} = {} km.\n#### {}",
            hours - first,
            hours - first,
            (hours - first) * speed,
            (hours - first) * speed
        ),
    )
}
