//! `<BlockList><Latest>{base64}</Latest>…</BlockList>`: which blocks a blob is made of.
//!
//! A document of three kinds of elements with base64 in them: no attributes, no entities, nothing nested, nothing else.

use super::error::BlobApiError;

/// The ids of the blocks, in their order.
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
        // The hub does not keep of which blocks a blob was made.
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
    fn lists_are_read_as_clients_write_them() {
        let read = |text: &str| parse(text.as_bytes()).map_err(|error| error.code());
        let list = "<?xml version='1.0' encoding='utf-8'?>\n<BlockList><Latest>QQ==</Latest><Latest>Qg==</Latest></BlockList>";
        assert_eq!(read(list), Ok(vec!["QQ==".to_owned(), "Qg==".to_owned()]));
        let list = "\u{feff}<BlockList>\n  <Uncommitted> QQ== </Uncommitted>\n</BlockList>\n";
        assert_eq!(read(list), Ok(vec!["QQ==".to_owned()]));
        assert_eq!(read("<BlockList></BlockList>"), Ok(Vec::new()));
        assert_eq!(read("<BlockList />"), Ok(Vec::new()));
        assert_eq!(read("<BlockList><Committed>QQ==</Committed></BlockList>"), Err("InvalidBlockList"));
        for bad in [
            "",
            "<BlockList>",
            "<BlockList><Latest>QQ==</BlockList>",
            "<BlockList><Latest>QQ==</Uncommitted></BlockList>",
            "<BlockList><Latest a='b'>QQ==</Latest></BlockList>",
            "<BlockList></BlockList><BlockList>",
            "<!DOCTYPE x [<!ENTITY a 'b'>]><BlockList></BlockList>",
            "<BlockList><Other>QQ==</Other></BlockList>",
        ] {
            assert_eq!(read(bad), Err("InvalidXmlDocument"), "{bad}");
        }
        assert_eq!(parse(b"\xff").unwrap_err().code(), "InvalidXmlDocument");
    }
}
