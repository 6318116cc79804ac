//! Conversations: messages, ShareGPT, prompt with completion as messages.

use super::*;

const TOOLS_ROW: &str = r#"{"id": 7, "messages": [
    {"role": "user", "content": "Book it"},
    {"role": "assistant", "content": null, "tool_calls": [
        {"type": "function", "function": {"name": "f", "arguments": {"z": 1, "a": 1.0, "n": null, "b": 12345678901234567890}}},
        {"type": "function", "function": {"name": "g", "arguments": "{\"z\": 1}"}}]},
    {"role": "tool", "name": null, "content": "[]"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"z": {}, "a": {}}}}]}"#;

#[test]
fn messages_come_through_in_order() {
    let read = conversation(
        r#"{"messages": [{"role": "system", "content": "S"}, {"content": "Q", "role": "user"},
            {"role": "assistant", "content": [{"type": "text", "text": "A"}]}], "extra": {"deep": [1, {}]}}"#,
    );
    assert_eq!(roles(&read.messages), ["system", "user", "assistant"]);
    assert_eq!(
        dump(&read.messages[1].value),
        r#"{"content":"Q","role":"user"}"#
    );
    assert_eq!(
        dump(&read.messages[2].value),
        r#"{"role":"assistant","content":[{"type":"text","text":"A"}]}"#
    );
    assert!(read.messages.iter().all(|message| message.train.is_none()));
    assert!(read.tools.is_none() && read.documents.is_none() && read.kwargs.is_empty());
}

#[test]
fn r21_arguments_nulls_key_order_and_number_text() {
    let read = conversation(TOOLS_ROW);
    // Null keys of the message go, null keys further in stay, arguments stay object or string.
    assert_eq!(
        dump(&read.messages[1].value),
        r#"{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":{"z":1,"a":1.0,"n":null,"b":12345678901234567890}}},{"type":"function","function":{"name":"g","arguments":"{\"z\": 1}"}}]}"#
    );
    assert_eq!(
        dump(&read.messages[2].value),
        r#"{"role":"tool","content":"[]"}"#
    );
    assert_eq!(
        dump(&read.tools.unwrap()),
        r#"[{"type":"function","function":{"name":"f","parameters":{"z":{},"a":{}}}}]"#
    );
}

#[test]
fn tools_may_be_a_json_string_or_none() {
    let tools = |json: &str| {
        let line =
            format!(r#"{{"tools": {json}, "messages": [{{"role": "user", "content": ""}}]}}"#);
        read(&line).map(|row| match row {
            Row::Chat(read) => read.tools.as_ref().map(dump),
            _ => panic!("not a conversation"),
        })
    };
    let same = Some(r#"[{"z":1,"a":2.0}]"#.to_owned());
    assert_eq!(tools(r#"[{"z": 1, "a": 2.0}]"#).unwrap(), same);
    assert_eq!(tools(r#""[{\"z\": 1, \"a\": 2.0}]""#).unwrap(), same);
    assert_eq!(tools("[]").unwrap(), Some("[]".to_owned()));
    for none in ["null", r#""null""#, r#""""#, r#"" ""#] {
        assert_eq!(tools(none).unwrap(), None, "{none}");
    }
    for (odd, words) in [
        ("{}", "`tools` is an object, not a list"),
        ("[{}, 3]", "`tools[1]` is a number; a tool is an object"),
        (r#""[\"f\"]""#, "`tools[0]` is a string"),
        (r#""\"[]\"""#, "`tools` is a string, not a list"),
        ("true", "`tools` is a boolean"),
    ] {
        let (kind, sentence) = refused(tools(odd));
        assert_eq!(kind, Kind::Row);
        assert!(sentence.contains(words), "{sentence}");
    }
    let (kind, sentence) = refused(tools(r#""[{]""#));
    assert_eq!(kind, Kind::Corrupt);
    assert!(sentence.contains("`tools` is not JSON"), "{sentence}");
}

#[test]
fn template_kwargs_keep_their_order_and_documents_go_their_own_way() {
    let read = conversation(
        r#"{"messages": [{"role": "user", "content": "Q"}],
            "chat_template_kwargs": {"z": 1, "documents": [{"title": "T"}], "enable_thinking": false, "a": null}}"#,
    );
    let kwargs: Vec<String> = read
        .kwargs
        .iter()
        .map(|(key, value)| format!("{key}={}", dump(value)))
        .collect();
    assert_eq!(kwargs, ["z=1", "enable_thinking=false", "a=null"]);
    assert_eq!(dump(&read.documents.unwrap()), r#"[{"title":"T"}]"#);
    let null = r#"{"messages": [{"role": "user", "content": "Q"}], "chat_template_kwargs": null}"#;
    assert!(conversation(null).kwargs.is_empty());
}

#[test]
fn kwargs_that_are_no_template_variables_are_refused() {
    let row = |kwargs: &str| {
        format!(
            r#"{{"messages": [{{"role": "user", "content": "Q"}}], "chat_template_kwargs": {kwargs}}}"#
        )
    };
    assert_refused(
        &row(r#"{"chat_template": "x"}"#),
        &["`chat_template_kwargs.chat_template` is no template variable"],
    );
    assert_refused(
        &row(r#"{"tools": null}"#),
        &["`chat_template_kwargs.tools`"],
    );
    assert_refused(
        &row("[]"),
        &["`chat_template_kwargs` is a list, not an object"],
    );
    assert_refused(
        &row(r#"{"documents": ["text"]}"#),
        &["`chat_template_kwargs.documents[0]` is not an object"],
    );
    assert_refused(
        &row(r#"{"documents": "text"}"#),
        &["`chat_template_kwargs.documents` is a string"],
    );
}

#[test]
fn sharegpt_speakers_get_their_roles() {
    let read = conversation(
        r#"{"conversations": [{"from": "system", "value": "S"}, {"from": "human", "value": "Q"},
            {"from": "gpt", "value": "A", "weight": 0}, {"from": "observation", "value": "O"},
            {"from": "bing", "value": "B"}, {"from": "moderator", "value": "M"}]}"#,
    );
    assert_eq!(
        roles(&read.messages),
        [
            "system",
            "user",
            "assistant",
            "tool",
            "assistant",
            "moderator"
        ]
    );
    assert_eq!(
        dump(&read.messages[2].value),
        r#"{"role":"assistant","content":"A"}"#
    );
    assert_eq!(read.messages[2].train, Some(false));
}

#[test]
fn either_spelling_is_read_in_either_field() {
    let plain = r#"[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}]"#;
    let sharegpt = r#"[{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]"#;
    let speakers = r#"[{"role": "human", "content": "Q"}, {"role": "gpt", "content": "A"}]"#;
    for line in [
        format!(r#"{{"messages": {plain}}}"#),
        format!(r#"{{"messages": {sharegpt}}}"#),
        format!(r#"{{"conversations": {plain}}}"#),
        format!(r#"{{"conversations": {sharegpt}}}"#),
        format!(r#"{{"conversations": {speakers}}}"#),
    ] {
        let read = conversation(&line);
        let maps: Vec<String> = read
            .messages
            .iter()
            .map(|message| dump(&message.value))
            .collect();
        assert_eq!(format!("[{}]", maps.join(",")), plain, "{line}");
    }
    // A role under its own name is the template's business.
    let read = conversation(&format!(r#"{{"messages": {speakers}}}"#));
    assert_eq!(roles(&read.messages), ["human", "gpt"]);
}

#[test]
fn a_role_of_its_own_wins_over_from() {
    let read = message(r#"{"from": "x", "role": "user", "content": "Q", "value": 3}"#);
    assert_eq!(
        dump(&read.value),
        r#"{"from":"x","role":"user","content":"Q","value":3}"#
    );
}

#[test]
fn moved_keys_go_to_the_end_as_in_trl() {
    let read = message(r#"{"from": "human", "name": "N", "value": "Q", "id": 1}"#);
    assert_eq!(
        dump(&read.value),
        r#"{"name":"N","id":1,"role":"user","content":"Q"}"#
    );
}

#[test]
fn function_call_turns_become_tool_calls() {
    let call = |value: &str| {
        read(&format!(
            r#"{{"conversations": [{{"from": "function_call", "value": {value}}}]}}"#
        ))
    };
    for value in [
        r#""{\"name\": \"f\", \"arguments\": {\"a\": 1}}""#,
        r#""[{\"name\": \"f\", \"arguments\": {\"a\": 1}}]""#,
    ] {
        let Row::Chat(read) = call(value).unwrap() else {
            panic!("not a conversation");
        };
        assert_eq!(
            dump(&read.messages[0].value),
            r#"{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":{"a":1}}}]}"#
        );
        assert_eq!(read.messages[0].role, "assistant");
    }
    let (_, sentence) = refused(call(r#""call f""#));
    assert!(
        sentence.contains("`conversations[0].value` is not JSON"),
        "{sentence}"
    );
    assert!(sentence.contains("sources[].roles"), "{sentence}");

    let mut mapped = source();
    mapped
        .roles
        .insert("function_call".to_owned(), "assistant".to_owned());
    let line = br#"{"conversations": [{"from": "function_call", "value": "call f"}]}"#;
    let Row::Chat(read) = RowReader::new(&mapped, None).read(line).unwrap() else {
        panic!("not a conversation");
    };
    assert_eq!(
        dump(&read.messages[0].value),
        r#"{"role":"assistant","content":"call f"}"#
    );
}

#[test]
fn the_recipes_roles_and_fields_come_first() {
    let mut named = source();
    named.fields.messages = "dialog".to_owned();
    named.fields.role = "speaker".to_owned();
    named.fields.content = "text".to_owned();
    named
        .roles
        .insert("human".to_owned(), "developer".to_owned());
    named.roles.insert("bot".to_owned(), "assistant".to_owned());
    let reader = RowReader::new(&named, None);
    let line = br#"{"dialog": [{"speaker": "human", "text": "Q"}, {"text": "A", "speaker": "bot"}], "messages": 3}"#;
    let Row::Chat(read) = reader.read(line).unwrap() else {
        panic!("not a conversation");
    };
    assert_eq!(roles(&read.messages), ["developer", "assistant"]);
    assert_eq!(
        dump(&read.messages[0].value),
        r#"{"role":"developer","content":"Q"}"#
    );
    assert_eq!(
        dump(&read.messages[1].value),
        r#"{"role":"assistant","content":"A"}"#
    );
}

#[test]
fn messages_without_role_or_content_are_refused() {
    let row = |message: &str| {
        format!(r#"{{"messages": [{{"role": "user", "content": "Q"}}, {message}]}}"#)
    };
    for (message, words) in [
        (
            r#"{"content": "A"}"#,
            "`messages[1]` has no `role` but `content`",
        ),
        (r#"{"role": null, "content": "A"}"#, "has no `role`"),
        (r#"{}"#, "has no `role` but no key at all"),
        (
            r#"{"role": 3, "content": "A"}"#,
            "`messages[1].role` is a number, not a string",
        ),
        (
            r#"{"role": "", "content": "A"}"#,
            "`messages[1].role` is empty",
        ),
        (
            r#"{"from": [], "value": "A"}"#,
            "`messages[1].from` is a sequence",
        ),
        (r#"{"role": "user"}"#, "`messages[1]` has no content"),
        (
            r#"{"role": "user", "text": "A"}"#,
            "sources[].fields.content",
        ),
        (
            r#"{"role": "assistant", "content": null, "tool_calls": null}"#,
            "has no content",
        ),
        (
            r#"{"role": "user", "content": 3}"#,
            "`messages[1].content` is a number",
        ),
        (
            r#"{"role": "user", "content": {"a": 1}}"#,
            "`messages[1].content` is a map",
        ),
        (
            r#"{"role": "user", "content": [{}, 3]}"#,
            "`messages[1].content[1]` is a number",
        ),
        (r#""hello""#, "`messages[1]` is a string, not an object"),
        (r#"null"#, "`messages[1]` is null, not an object"),
        (
            r#"[{"role": "user", "content": "Q"}]"#,
            "`messages[1]` is a list",
        ),
    ] {
        assert_refused(&row(message), &[words]);
    }
}

#[test]
fn a_turn_may_call_or_reason_instead_of_speaking() {
    for message_json in [
        r#"{"role": "assistant", "tool_calls": []}"#,
        r#"{"role": "assistant", "content": null, "tool_calls": [{}]}"#,
        r#"{"role": "assistant", "reasoning_content": "R"}"#,
        r#"{"role": "tool", "tool_responses": []}"#,
        r#"{"role": "tool", "content": {"temperature": 3}}"#,
        r#"{"role": "tool", "content": [1, 2]}"#,
        r#"{"role": "user", "content": ""}"#,
        r#"{"role": "user", "content": []}"#,
    ] {
        message(message_json);
    }
}

#[test]
fn the_list_of_messages_must_be_one() {
    assert_refused(r#"{"messages": []}"#, &["`messages` is an empty list"]);
    assert_refused(
        r#"{"messages": "hello"}"#,
        &["`messages` is a string, not a list"],
    );
    let reader = RowReader::new(&source(), None).with_shape(Shape::Messages);
    for (line, words) in [
        (r#"{"messages": null}"#, "`messages` is null, not a list"),
        (r#"{"text": "hello"}"#, "the record has no `messages`"),
        (r#"[1]"#, "the record is a list, not an object"),
    ] {
        let (kind, sentence) = refused(reader.read(line.as_bytes()));
        assert_eq!(kind, Kind::Row);
        assert!(sentence.contains(words), "{sentence}");
    }
}

#[test]
fn the_recipes_system_message_is_for_conversations_without_one() {
    let reader = RowReader::new(&source(), Some("Be brief."));
    let read = |line: &str| reader.read(line.as_bytes()).unwrap();
    let Row::Chat(added) = read(r#"{"messages": [{"role": "user", "content": "Q"}]}"#) else {
        panic!("not a conversation");
    };
    assert_eq!(roles(&added.messages), ["system", "user"]);
    assert_eq!(
        dump(&added.messages[0].value),
        r#"{"role":"system","content":"Be brief."}"#
    );
    for own in ["system", "developer"] {
        let line = format!(r#"{{"messages": [{{"role": "{own}", "content": "S"}}]}}"#);
        let Row::Chat(kept) = read(&line) else {
            panic!("not a conversation");
        };
        assert_eq!(roles(&kept.messages), [own]);
    }
    let completion = read(
        r#"{"prompt": [{"role": "user", "content": "Q"}], "completion": [{"role": "assistant", "content": "A"}]}"#,
    );
    let Row::ChatCompletion {
        conversation,
        prompt_len,
    } = completion
    else {
        panic!("no completion");
    };
    assert_eq!(
        roles(&conversation.messages),
        ["system", "user", "assistant"]
    );
    assert_eq!(prompt_len, 2);
}

#[test]
fn a_sharegpt_rows_own_system_text_comes_before_the_recipes() {
    let reader = RowReader::new(&source(), Some("recipe"));
    for (system, conversation, expected) in [
        (r#""row""#, r#"[{"from": "human", "value": "Q"}]"#, "row"),
        (r#""""#, r#"[{"from": "human", "value": "Q"}]"#, "recipe"),
        ("null", r#"[{"from": "human", "value": "Q"}]"#, "recipe"),
        (
            r#""row""#,
            r#"[{"from": "system", "value": "turn"}]"#,
            "turn",
        ),
    ] {
        let line = format!(r#"{{"system": {system}, "conversations": {conversation}}}"#);
        let Row::Chat(read) = reader.read(line.as_bytes()).unwrap() else {
            panic!("not a conversation");
        };
        let content = read.messages[0].value.get_attr("content").unwrap();
        assert_eq!(content.as_str(), Some(expected));
        assert_eq!(read.messages[0].role, "system");
    }
}

#[test]
fn prompt_and_completion_may_be_messages() {
    let row = read(
        r#"{"completion": [{"role": "assistant", "content": "A"}, {"from": "gpt", "value": "B"}],
            "prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}],
            "tools": "[{}]", "chat_template_kwargs": {"x": 1}}"#,
    );
    let Ok(Row::ChatCompletion {
        conversation,
        prompt_len,
    }) = row
    else {
        panic!("no completion");
    };
    assert_eq!(
        roles(&conversation.messages),
        ["system", "user", "assistant", "assistant"]
    );
    assert_eq!(prompt_len, 2);
    assert_eq!(dump(&conversation.tools.unwrap()), "[{}]");
    assert_eq!(conversation.kwargs.len(), 1);
    assert_refused(
        r#"{"prompt": [], "completion": [{"role": "assistant", "content": "A"}]}"#,
        &["`prompt` is an empty list"],
    );
    assert_refused(
        r#"{"prompt": "Q", "completion": [{"role": "assistant", "content": "A"}]}"#,
        &["text in one and messages in the other of `prompt` and `completion`"],
    );
    assert_refused(
        r#"{"prompt": "Q", "completion": 3}"#,
        &["`completion` is a number"],
    );
}
