/** What must not outlive the process unless it is finished. */
const unfinished = new Set<() => void>();

/** Has `remove` called when the process exits, unless the function that is returned is called first. */
export function rememberUnfinished(remove: () => void): () => void {
  if (unfinished.size === 0) process.on("exit", removeUnfinished);
  unfinished.add(remove);
  return () => {
    unfinished.delete(remove);
    if (unfinished.size === 0) process.off("exit", removeUnfinished);
  };
}

function removeUnfinished(): void {
  for (const remove of unfinished) {
    try {
      remove();
    } catch {
      // There is nobody left to tell, and there may be others to remove.
    }
  }
}
