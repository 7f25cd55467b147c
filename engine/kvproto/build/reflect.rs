//! Turns kvproto's descriptors into a table of messages and enums, with which any of them is printed.
use std::{fmt::Write as _, path::PathBuf};

use heck::ToUpperCamelCase;
use protox::prost_reflect::prost_types::FileDescriptorSet;

type Fallible = Result<(), Box<dyn std::error::Error>>;

/// Writes the table of the messages to `schema.rs` in `OUT_DIR`.
pub fn write_table(set: &FileDescriptorSet) -> Fallible {
    let (mut messages, mut enums) = (Vec::new(), Vec::new());
    for file in &set.file {
        for message in &file.message_type {
            add_message(file.package(), message, &mut messages, &mut enums)?;
        }
        for kind in &file.enum_type {
            enums.push(enum_row(file.package(), kind)?);
        }
    }
    // The tables are searched by name.
    messages.sort();
    enums.sort();
    let text = format!(
        "/// All messages, in the order of their names.\npub static MESSAGES: &[Message] = &[\n{}];\n\
         /// All enums, in the order of their names.\npub static ENUMS: &[Enum] = &[\n{}];\n",
        messages.concat(),
        enums.concat()
    );
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("schema.rs");
    Ok(std::fs::write(out, text)?)
}

fn add_message(
    scope: &str,
    message: &protox_types::DescriptorProto,
    messages: &mut Vec<String>,
    enums: &mut Vec<String>,
) -> Fallible {
    let name = format!("{scope}.{}", message.name());
    let mut row = format!("Message {{ name: {name:?}, fields: &[");
    for field in &message.field {
        let type_name = field.type_name().trim_start_matches('.');
        let repeated = field.label() == protox_types::field_descriptor_proto::Label::Repeated;
        write!(
            row,
            "Field {{ number: {}, name: {:?}, kind: Kind::{:?}, type_name: {type_name:?}, repeated: {repeated} }}, ",
            field.number(),
            field.name(),
            field.r#type(),
        )?;
    }
    row.push_str("] },\n");
    messages.push(row);
    for nested in &message.nested_type {
        add_message(&name, nested, messages, enums)?;
    }
    for kind in &message.enum_type {
        enums.push(enum_row(&name, kind)?);
    }
    Ok(())
}

fn enum_row(scope: &str, kind: &protox_types::EnumDescriptorProto) -> Result<String, std::fmt::Error> {
    let mut row = format!("Enum {{ name: {:?}, values: &[", format!("{scope}.{}", kind.name()));
    for value in &kind.value {
        // TiKV prints a value by its name in Rust: IngestSst, V1ttl, Aes256Ctr.
        write!(row, "({}, {:?}), ", value.number(), value.name().to_upper_camel_case())?;
    }
    row.push_str("] },\n");
    Ok(row)
}

/// Descriptor types under the names that protox uses.
mod protox_types {
    pub use protox::prost_reflect::prost_types::{
        DescriptorProto, EnumDescriptorProto, field_descriptor_proto,
    };
}
