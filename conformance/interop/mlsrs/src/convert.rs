//! Between the types of the gRPC service and those of mls-rs.
use mls_rs::extension::ExtensionType;
use mls_rs::extension::built_in::RatchetTreeExt;
use mls_rs::group::{ExportedTree, GroupInfo, Roster};
use mls_rs::mls_rs_codec::MlsDecode;
use mls_rs::{Extension, ExtensionList, MlsMessage, ProtocolVersion, WireFormat};

use crate::failure::{Result, malformed, refused};
use crate::identity::name_of;
use crate::wire;

/// Decodes an MLSMessage.
pub fn parse(data: &[u8]) -> Result<MlsMessage> {
    Ok(MlsMessage::from_bytes(data)?)
}

pub fn parse_format(data: &[u8], format: WireFormat) -> Result<MlsMessage> {
    let message = parse(data)?;
    if message.wire_format() != format {
        return Err(malformed(format!("a {:?} where a {format:?} is due", message.wire_format())));
    }
    Ok(message)
}

/// Decodes a key package: a message, or bare.
pub fn parse_package(data: &[u8]) -> Result<MlsMessage> {
    parse_format(data, WireFormat::KeyPackage).or_else(|e| {
        let mut bare = ProtocolVersion::MLS_10.raw_value().to_be_bytes().to_vec();
        bare.extend((WireFormat::KeyPackage as u16).to_be_bytes());
        bare.extend(data);
        parse(&bare).map_err(|_| e)
    })
}

pub fn parse_packages(data: &[Vec<u8>]) -> Result<Vec<MlsMessage>> {
    data.iter().map(|d| parse_package(d)).collect()
}

/// Decodes a tree, if there is one.
pub fn parse_tree(data: &[u8]) -> Result<Option<ExportedTree<'static>>> {
    if data.is_empty() {
        return Ok(None);
    }
    Ok(Some(ExportedTree::from_bytes(data)?))
}

pub fn group_info(message: &MlsMessage) -> Result<&GroupInfo> {
    message.as_group_info().ok_or_else(|| malformed("not a GroupInfo"))
}

/// The tree that was handed out apart, or else that of the GroupInfo.
pub fn tree_of(info: &GroupInfo, apart: &[u8]) -> Result<ExportedTree<'static>> {
    if let Some(tree) = parse_tree(apart)? {
        return Ok(tree);
    }
    match info.extensions().get_as::<RatchetTreeExt>()? {
        Some(ext) => Ok(ext.tree_data),
        None => Err(malformed("there is no ratchet tree")),
    }
}

/// The leaf of a member.
pub fn leaf_of(roster: &Roster<'_>, name: &[u8]) -> Result<u32> {
    for m in roster.members_iter() {
        if name_of(&m.signing_identity)? == name {
            return Ok(m.index);
        }
    }
    Err(refused("no member has that identity"))
}

pub fn extensions(list: &[wire::Extension]) -> Result<ExtensionList> {
    let mut out = ExtensionList::new();
    for e in list {
        let number = u16::try_from(e.extension_type)
            .map_err(|_| malformed(format!("{} is not an extension type", e.extension_type)))?;
        let kind = ExtensionType::new(number);
        if out.has_extension(kind) {
            return Err(refused(format!("mls-rs's lists hold no two extensions of type {number}")));
        }
        out.set(Extension::new(kind, e.extension_data.clone()));
    }
    Ok(out)
}

/// Decodes a structure to the last byte.
pub fn decode<T: MlsDecode>(data: &[u8]) -> Result<T> {
    let mut rest = data;
    let value = T::mls_decode(&mut rest)?;
    if !rest.is_empty() {
        return Err(malformed("there are bytes after the end"));
    }
    Ok(value)
}
