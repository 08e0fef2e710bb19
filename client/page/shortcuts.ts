/** Single keys that do things, wherever they are not meant for something else. */

export interface ShortcutOptions {
  readonly isEnabled: () => boolean;
  /** By `KeyboardEvent.key`, in lower case. */
  readonly actions: Readonly<Record<string, () => void>>;
}

export function listenForShortcuts({ isEnabled, actions }: ShortcutOptions): void {
  document.addEventListener('keydown', (event) => {
    const { key, target, ctrlKey, metaKey, altKey, repeat } = event;
    const action = actions[key.toLowerCase()];
    if (action === undefined || !isEnabled() || ctrlKey || metaKey || altKey || repeat) return;
    if (document.querySelector('dialog[open]') !== null) return;
    // A button takes the space bar for itself.
    if (target instanceof Element && target.closest('input, select, textarea, button') !== null) return;
    event.preventDefault();
    action();
  });
}
