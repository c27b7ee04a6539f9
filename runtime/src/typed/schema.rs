//! The schema of a type, and the names of its variants.

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Map, Value, json};

/// The largest integer that every reader of JSON holds exactly.
const MAX_EXACT: i64 = (1 << 53) - 1;

/// Makes the schema of a type, its integers bounded by what their types hold.
pub(super) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let settings = settings.with_transform(RecursiveTransform(bound_number as fn(&mut Schema)));
    settings.into_generator().into_root_schema_for::<T>().into()
}

/// Writes the range of a Rust number as bounds instead of a `format`: a value outside of it is
/// valid JSON, but no value of the type.
fn bound_number(schema: &mut Schema) {
    let Some(format) = schema.get("format").and_then(Value::as_str) else { return };
    let range = match format {
        "int8" => Some((i8::MIN.into(), i8::MAX.into())),
        "int16" => Some((i16::MIN.into(), i16::MAX.into())),
        "int32" => Some((i32::MIN.into(), i32::MAX.into())),
        "uint8" => Some((0, u8::MAX.into())),
        "uint16" => Some((0, u16::MAX.into())),
        "uint32" => Some((0, u32::MAX.into())),
        "int" | "int64" | "int128" => Some((-MAX_EXACT, MAX_EXACT)),
        "uint" | "uint64" | "uint128" => Some((0, MAX_EXACT)),
        "float" | "double" => None,
        _ => return,
    };
    schema.remove("format");
    let Some((min, max)) = range else { return };
    for (keyword, bound) in [("minimum", min), ("maximum", max)] {
        // What the type's author wrote is narrower.
        if schema.get(keyword).is_none() {
            schema.insert(keyword.to_owned(), json!(bound));
        }
    }
}

/// The names of an enum's variants, in order; `None` if a variant holds something, or it is no
/// enum.
pub(super) fn variants<T: JsonSchema>() -> Option<Vec<String>> {
    let schema = of::<T>();
    let names = names(schema.as_object()?)?;
    (!names.is_empty()).then_some(names)
}

fn names(schema: &Map<String, Value>) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(name) = schema.get("const") {
        return Some(vec![text(name)?]);
    }
    if let Some(Value::Array(all)) = schema.get("enum") {
        return all.iter().map(text).collect();
    }
    // Variants with a description have a schema each.
    let Some(Value::Array(options)) = schema.get("oneOf") else { return None };
    let options = options.iter().map(|option| names(option.as_object()?));
    Some(options.collect::<Option<Vec<_>>>()?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "its schema is all that is wanted")]
    struct Numbers {
        small: u8,
        #[schemars(range(max = 7))]
        narrow: i16,
        large: u64,
        real: f32,
        text: String,
    }

    #[test]
    fn integers_are_bounded_by_their_types_and_fields_keep_their_order() {
        let schema = of::<Numbers>();
        let want = json!({
            "small": {"type": "integer", "minimum": 0, "maximum": 255},
            "narrow": {"type": "integer", "minimum": -32768, "maximum": 7},
            "large": {"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_i64},
            "real": {"type": "number"},
            "text": {"type": "string"},
        });
        assert_eq!(schema["properties"], want);
        let names: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["small", "narrow", "large", "real", "text"]);
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "its schema is all that is wanted")]
    enum Plain {
        Warm,
        #[schemars(rename = "cold as ice")]
        Cold,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "its schema is all that is wanted")]
    enum Described {
        /// Above zero.
        Warm,
        Cold,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "its schema is all that is wanted")]
    enum Full {
        Warm,
        Cold(u8),
    }

    #[test]
    fn variants_are_named_unless_they_hold_something() {
        assert_eq!(variants::<Plain>().unwrap(), ["Warm", "cold as ice"]);
        let mut described = variants::<Described>().unwrap();
        described.sort();
        assert_eq!(described, ["Cold", "Warm"]);
        assert_eq!(variants::<Full>(), None);
        assert_eq!(variants::<Numbers>(), None);
        assert_eq!(variants::<String>(), None);
    }
}
