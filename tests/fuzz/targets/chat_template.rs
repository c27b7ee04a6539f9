//! A chat template, parsed and rendered.

#![no_main]

use sluicegate_fuzz_harness::fuzz_target;
use sluicegate_model::chat::{ChatTemplate, Message};

fuzz_target!(|text: &str| {
    let Ok(template) = ChatTemplate::new(text, "<s>".to_owned(), "</s>".to_owned()) else { return };
    let messages = [("system", "Be brief."), ("user", "Hi <b>"), ("assistant", "é\n")];
    let messages = messages.map(|(role, content)| Message::new(role, content));
    for add_generation_prompt in [false, true] {
        let _ = template.render(&messages, add_generation_prompt);
    }
});
