//! Templates render as they do for the models' own tools, and hostile ones end.

use super::*;
use crate::source::{ModelSource, Silent};

fn render(source: &str) -> Result<String, ChatError> {
    let template = ChatTemplate::new(source, "<s>".to_owned(), "</s>".to_owned())?;
    let messages = [Message::new("user", " hi "), Message::new("assistant", "yes")];
    template.render(&messages, true)
}

#[track_caller]
fn check(source: &str, wanted: &str) {
    assert_eq!(render(source).unwrap(), wanted);
}

#[test]
fn templates_see_messages_tokens_and_python_methods() {
    check("{{ bos_token }}{{ messages[0]['role'] }}{{ eos_token }}", "<s>user</s>");
    check(
        "{% for m in messages %}\n    {% if m.role == 'user' %}\n[{{ m.content.strip() }}]\n    \
           {% endif %}\n{% endfor %}\n",
        "[hi]\n",
    );
    check("{% if add_generation_prompt %}go{% endif %}{{ nothing is defined }}", "goFalse");
    check("{{ messages[0].content | trim | tojson }}", "\"hi\"");
    check("{{ {'a': [1, '<&\\'\\\\u003c\"']} | tojson }}", r#"{"a": [1, "<&'\\u003c\""]}"#);
    check("{{ [1] | tojson(indent=2, ensure_ascii=false) }}", "[\n  1\n]");
    check("{{ '<b>' + messages[1]['content'] }}", "<b>yes");
    assert!(render("{{ strftime_now('%Y') }}").unwrap().starts_with("20"));
}

#[test]
fn what_a_request_lacks_is_none_as_in_transformers() {
    for name in ["tools", "documents"] {
        let render = |test: &str| {
            render(&format!("{{% if {name} {test} %}}yes{{% else %}}no{{% endif %}}")).unwrap()
        };
        assert_eq!(render("is not none"), "no", "{name}");
        assert_eq!(
            (render(""), render("is defined"), render("is none")),
            ("no".into(), "yes".into(), "yes".into())
        );
    }
}

#[test]
fn a_generation_block_is_inert() {
    check(
        "{% for m in messages %}{% if m.role == 'assistant' %}\n{%- generation -%}\n  \
         {{ m.content }}{{ eos_token }}{{ loop.index }}\n{%- endgeneration %}{% endif %}{% endfor %}",
        "yes</s>2",
    );
    // As in transformers: what is set inside is not seen outside.
    check("{% set x = 1 %}{% generation %}{% set x = 2 %}{% endgeneration %}{{ x }}", "1");
}

#[test]
fn dates_are_written_in_any_format_of_c() {
    let date = render("{{ strftime_now('%-d %I %p %j') }}").unwrap();
    assert!(!date.contains('%') && date.split(' ').count() == 4, "{date}");
}

#[test]
fn a_template_may_refuse() {
    let refused = render("{{ raise_exception('roles must alternate') }}").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the chat template refuses these messages: roles must alternate"
    );
}

#[test]
fn bad_and_hostile_templates_are_errors() {
    assert!(matches!(render("{% for %}"), Err(ChatError::Template { .. })));
    assert!(matches!(render("{{ messages.nothing() }}"), Err(ChatError::Render { .. })));
    let endless = "{% for a in range(10000) %}{% for b in range(10000) %}{{ a }}{% endfor %}\
                   {% endfor %}";
    assert!(matches!(render(endless), Err(ChatError::Render { .. })));
    let huge = "{% set x = 'aaaaaaaaaa' * 10000 %}{% for a in range(100000) %}{{ x * 1000 }}\
                {% endfor %}";
    assert!(render(huge).is_err());
    let long = " ".repeat(MAX_TEMPLATE_BYTES + 1);
    assert!(matches!(render(&long), Err(ChatError::TooLong { .. })));
}

#[test]
fn smollm2_renders_its_own_template() {
    let files = ModelSource::parse("smollm2").unwrap().resolve(&Silent).unwrap();
    let tokenizer = Tokenizer::from_files(&files).unwrap();
    let chat = ChatTemplate::from_files(&files, &tokenizer).unwrap();
    let prompt = chat.render(&[Message::new("user", "Hi!")], true).unwrap();
    let wanted = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by \
                  Hugging Face<|im_end|>\n<|im_start|>user\nHi!<|im_end|>\n\
                  <|im_start|>assistant\n";
    assert_eq!(prompt, wanted);
    let tokens = tokenizer.encode(&prompt, false).unwrap();
    assert_eq!((tokens[0], tokens.iter().filter(|token| **token == 2).count()), (1, 2));
}

#[test]
fn templates_of_directories_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let files = ModelSource::parse("smollm2").unwrap().resolve(&Silent).unwrap();
    let tokenizer = Tokenizer::from_files(&files).unwrap();
    let read = || ChatTemplate::from_directory(directory.path(), &tokenizer);
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    assert!(matches!(read(), Err(ChatError::NoTemplate { .. })));
    let several = r#"{"eos_token": {"content": "</s>"}, "chat_template": [
        {"name": "tool_use", "template": "no"},
        {"name": "default", "template": "yes{{ eos_token }}{{ bos_token }}"}]}"#;
    write("tokenizer_config.json", several);
    assert_eq!(read().unwrap().render(&[], false).unwrap(), "yes</s><|im_start|>");
    let padded = r#"{"pad_token": "<pad>", "chat_template": "{{ pad_token }}"}"#;
    write("tokenizer_config.json", padded);
    assert_eq!(read().unwrap().render(&[], false).unwrap(), "<pad>");
    write("chat_template.jinja", "file");
    assert_eq!(read().unwrap().render(&[], false).unwrap(), "file");
    std::fs::remove_file(directory.path().join("chat_template.jinja")).unwrap();
    let named = r#"{"chat_template": [{"name": "rag", "template": "a"}, {"name": "tool_use", "template": "b"}]}"#;
    write("tokenizer_config.json", named);
    let error = read().unwrap_err().to_string();
    assert!(
        error.contains("a list with rag, tool_use") && error.contains("named default"),
        "{error}"
    );
    let latin = [b'c', 0xE9];
    std::fs::write(directory.path().join("chat_template.jinja"), latin).unwrap();
    let error = read().unwrap_err().to_string();
    assert!(error.contains("chat_template.jinja") && error.contains("wanted UTF-8"), "{error}");
    std::fs::remove_file(directory.path().join("chat_template.jinja")).unwrap();
    write("tokenizer_config.json", r#"{"chat_template": 5}"#);
    assert!(matches!(read(), Err(ChatError::Value { key: "chat_template", .. })));
}
