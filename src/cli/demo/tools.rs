//! Chats in which the assistant calls functions: every result follows from the call, so the answers are true to it.

use super::chats::message;
use super::grammar::{Grammar, Voice};
use super::random::Random;
use serde_json::{Value, json};

const DAYS: [&str; 3] = ["today", "tomorrow", "next Sunday"];

/// A chat with one or two calls.
pub(crate) fn chat(grammar: &Grammar<'_>, random: &mut Random) -> anyhow::Result<Value> {
    let mut voice = Voice::new(grammar);
    let mut messages = vec![message("system", voice.say(random, "tools.system")?)];
    for call in 0..random.between(1, 2) {
        let first = call == 0;
        match random.below(3) {
            0 => ask_weather(&mut voice, random, first, &mut messages)?,
            1 => ask_train(&mut voice, random, &mut messages)?,
            _ => ask_exchange(random, &mut messages),
        }
    }
    if random.chance(40) {
        messages.push(message("user", voice.say(random, "thanks")?));
        messages.push(message("assistant", voice.say(random, "welcome")?));
    }
    Ok(json!({ "messages": messages, "tools": tools() }))
}

fn ask_weather(
    voice: &mut Voice<'_, '_>,
    random: &mut Random,
    first: bool,
    messages: &mut Vec<Value>,
) -> anyhow::Result<()> {
    let city = voice.keep(random, "city")?;
    let day = DAYS[random.below(DAYS.len())];
    let sky = voice.say(random, "weather")?;
    let high = random.between(3, 31);
    let low = high - random.between(1, 9).min(high);
    messages.push(message(
        "user",
        if first {
            format!("What will the weather be like in {city} {day}?")
        } else {
            format!("And the weather in {city} {day}?")
        },
    ));
    call(
        messages,
        "get_weather",
        json!({ "city": city, "day": day }),
        &json!({ "sky": sky, "high_celsius": high, "low_celsius": low }),
    );
    let advice = if high < 10 { " Take a warm coat." } else { "" };
    messages.push(message(
        "assistant",
        format!("In {city} it will be {sky} {day}, between {low} °C and {high} °C.{advice}"),
    ));
    Ok(())
}

fn ask_train(
    voice: &mut Voice<'_, '_>,
    random: &mut Random,
    messages: &mut Vec<Value>,
) -> anyhow::Result<()> {
    let from = voice.keep(random, "city")?;
    let hour = random.between(6, 20);
    let departures: Vec<String> = (0..random.between(1, 3))
        .map(|later| format!("{:02}:{:02}", hour + later, random.between(1, 59)))
        .collect();
    messages.push(message(
        "user",
        format!("When does the next train leave {from} for the airport, after {hour}:00?"),
    ));
    call(
        messages,
        "find_trains",
        json!({ "from": from, "to": format!("{from} Airport"), "after": format!("{hour:02}:00") }),
        &json!({ "departures": departures }),
    );
    let next = departures.first().cloned().unwrap_or_default();
    let others = match departures.get(1..) {
        Some(others) if !others.is_empty() => {
            format!(" Later ones go at {}.", others.join(" and "))
        }
        _ => " It is the last one.".to_owned(),
    };
    messages.push(message(
        "assistant",
        format!("The next train to the airport leaves at {next}.{others}"),
    ));
    Ok(())
}

fn ask_exchange(random: &mut Random, messages: &mut Vec<Value>) {
    let euros = random.between(2, 60) * 5;
    let (currency, rate) = [("CHF", 94), ("USD", 117), ("CAD", 163)][random.below(3)];
    let cents = euros * rate;
    let amount = format!("{}.{:02}", cents / 100, cents % 100);
    messages.push(message(
        "user",
        format!("How much is {euros} € in {currency}?"),
    ));
    call(
        messages,
        "convert",
        json!({ "amount": euros, "from": "EUR", "to": currency }),
        &json!({ "amount": amount, "rate": format!("{}.{:02}", rate / 100, rate % 100) }),
    );
    messages.push(message(
        "assistant",
        format!("{euros} € are {amount} {currency}."),
    ));
}

/// The call and what the function gave back.
fn call(messages: &mut Vec<Value>, name: &str, arguments: Value, result: &Value) {
    let mut asking = message("assistant", "");
    asking["tool_calls"] = json!([{
        "type": "function",
        "function": { "name": name, "arguments": arguments },
    }]);
    messages.push(asking);
    messages.push(message("tool", result.to_string()));
}

/// The functions that every such chat offers.
fn tools() -> Value {
    let text = || json!({ "type": "string" });
    json!([
        function(
            "get_weather",
            "The forecast for a city",
            json!({ "city": text(), "day": text() })
        ),
        function(
            "find_trains",
            "Departures after a time of day",
            json!({ "from": text(), "to": text(), "after": text() }),
        ),
        function(
            "convert",
            "An amount of money in another currency",
            json!({ "amount": { "type": "number" }, "from": text(), "to": text() }),
        ),
    ])
}

fn function(name: &str, description: &str, properties: Value) -> Value {
    json!({
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": { "type": "object", "properties": properties },
        },
    })
}
