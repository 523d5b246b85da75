//! Parses `<BlockList><Latest>{base64}</Latest>…</BlockList>`: the list of blocks of a blob.
//!
//! The document contains only the elements `Latest`, `Uncommitted` and `Committed` with base64 content: no attributes,
//! no entities, no nesting.

use super::error::BlobApiError;

/// Returns the ids of the blocks in order.
pub(super) fn parse(body: &[u8]) -> Result<Vec<String>, BlobApiError> {
    let text = std::str::from_utf8(body).map_err(|_| BlobApiError::invalid_xml())?;
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    if let Some(prolog) = rest.strip_prefix("<?xml") {
        rest = prolog.split_once("?>").ok_or_else(BlobApiError::invalid_xml)?.1.trim_start();
    }
    if let Some(empty) = rest.strip_prefix("<BlockList/>").or_else(|| rest.strip_prefix("<BlockList />")) {
        return if empty.trim().is_empty() { Ok(Vec::new()) } else { Err(BlobApiError::invalid_xml()) };
    }
    rest = rest.strip_prefix("<BlockList>").ok_or_else(BlobApiError::invalid_xml)?.trim_start();
    let mut ids = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix("</BlockList>") {
            return if end.trim().is_empty() { Ok(ids) } else { Err(BlobApiError::invalid_xml()) };
        }
        // The hub does not store the block list of a committed blob.
        if rest.starts_with("<Committed>") {
            return Err(BlobApiError::invalid_block_list());
        }
        let (id, after) = ["Latest", "Uncommitted"]
            .iter()
            .find_map(|tag| {
                let inner = rest.strip_prefix('<')?.strip_prefix(tag)?.strip_prefix('>')?;
                let (id, after) = inner.split_once("</")?;
                Some((id, after.strip_prefix(tag)?.strip_prefix('>')?))
            })
            .ok_or_else(BlobApiError::invalid_xml)?;
        ids.push(id.trim().to_owned());
        rest = after.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_lists_of_clients_are_parsed_and_malformed_ones_refused() {
        let read = |text: &str| parse(text.as_bytes()).map_err(|error| error.code());
        let list = "<?xml version='1.0' encoding='utf-8'?>\n<BlockList><Latest>QQ==</Latest><Latest>Qg==</Latest></BlockList>";
        assert_eq!(read(list), Ok(vec!["QQ==".to_owned(), "Qg==".to_owned()]));
        let list = "\u{feff}<BlockList>\n  <Uncommitted> QQ== </Uncommitted>\n</BlockList>\n";
        assert_eq!(read(list), Ok(vec!["QQ==".to_owned()]));
        assert_eq!(read("<BlockList></BlockList>"), Ok(Vec::new()));
        assert_eq!(read("<BlockList />"), Ok(Vec::new()));
        assert_eq!(read("<BlockList><Committed>QQ==</Committed></BlockList>"), Err("InvalidBlockList"));
        for invalid in [
            "",
            "<BlockList>",
            "<BlockList><Latest>QQ==</BlockList>",
            "<BlockList><Latest>QQ==</Uncommitted></BlockList>",
            "<BlockList><Latest a='b'>QQ==</Latest></BlockList>",
            "<BlockList></BlockList><BlockList>",
            "<!DOCTYPE x [<!ENTITY a 'b'>]><BlockList></BlockList>",
            "<BlockList><Other>QQ==</Other></BlockList>",
        ] {
            assert_eq!(read(invalid), Err("InvalidXmlDocument"), "{invalid}");
        }
        assert_eq!(parse(b"\xff").unwrap_err().code(), "InvalidXmlDocument");
    }
}
