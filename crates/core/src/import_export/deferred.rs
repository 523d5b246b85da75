//! Lines that name an edge device or a device that comes later in the blob. They are stored, and applied once the rest of the
//! blob is: in rounds, because one may belong to another.

use std::collections::HashSet;

use ferrohub_model::IdentityId;
use ferrohub_model::bulk::BulkError;

use super::DeferredLine;
use super::failure::RunFailure;
use super::import::{Import, PAGE_ITEMS, parse_line};
use crate::registry::RegistryChange;

/// Reads the item of a deferred line. The number is that of the item in its page.
fn parse(line: &DeferredLine, number: usize) -> Option<Result<RegistryChange, BulkError>> {
    parse_line(line.text.as_bytes(), number)
}

impl Import<'_> {
    /// Reads the identities of the lines that an earlier run has deferred.
    pub(super) async fn load_deferred(&mut self, job: &str) -> Result<(), RunFailure> {
        let mut after = 0;
        loop {
            let lines = self.hub.store.deferred_lines(job, after, PAGE_ITEMS).await?;
            let Some(last) = lines.last() else { return Ok(()) };
            after = last.number;
            let ids = lines.iter().filter_map(|line| parse(line, 0)?.ok());
            self.deferred.extend(ids.map(|item| item.id));
        }
    }

    /// Applies the deferred lines. Those that wait for something that the blob does not create fail.
    pub(super) async fn resolve_deferred(&mut self, job: &str) -> Result<(), RunFailure> {
        loop {
            let before = self.progress.deferred;
            self.run_round(job, false).await?;
            if self.progress.deferred == before {
                break;
            }
        }
        self.run_round(job, true).await
    }

    /// Applies the deferred lines in their order: those that wait for nothing, or all.
    async fn run_round(&mut self, job: &str, is_last: bool) -> Result<(), RunFailure> {
        let mut after = 0;
        // The lines of an identity keep their order: one that still waits holds those after it back.
        let mut waiting = HashSet::<IdentityId>::new();
        loop {
            self.hub.keep_running(self.context).await?;
            let lines = self.hub.store.deferred_lines(job, after, PAGE_ITEMS).await?;
            let Some(last) = lines.last() else { return Ok(()) };
            after = last.number;
            let mut page = DeferredPage::default();
            for line in lines {
                let number = page.numbers.len();
                // It was an item when it was deferred.
                let Some(Ok(mut item)) = parse(&line, number) else { continue };
                let is_ready =
                    !waiting.contains(&item.id) && self.hub.resolve_dependencies(&mut item).await?;
                if !is_ready && !is_last {
                    waiting.insert(item.id);
                    continue;
                }
                if page.ids.contains(&item.id) {
                    self.apply_deferred(std::mem::take(&mut page)).await?;
                    item.number = 0;
                }
                page.push(line.number, item);
            }
            self.apply_deferred(page).await?;
        }
    }

    async fn apply_deferred(&mut self, page: DeferredPage) -> Result<(), RunFailure> {
        let DeferredPage { numbers, devices, modules, .. } = page;
        for items in [devices, modules] {
            self.apply(items, Some(numbers.clone())).await?;
        }
        Ok(())
    }
}

/// Deferred lines that are applied together.
#[derive(Default)]
struct DeferredPage {
    /// The numbers of the lines, by the numbers of the items.
    numbers: Vec<u64>,
    ids: HashSet<IdentityId>,
    devices: Vec<RegistryChange>,
    modules: Vec<RegistryChange>,
}

impl DeferredPage {
    fn push(&mut self, line: u64, item: RegistryChange) {
        self.numbers.push(line);
        self.ids.insert(item.id.clone());
        match item.id.module_str() {
            None => self.devices.push(item),
            Some(_) => self.modules.push(item),
        }
    }
}
