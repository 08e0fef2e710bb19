/** Files that come from the person: dropped anywhere on the page, or chosen. */
import { byId } from './elements.ts';

export function listenForFiles(onFile: (file: File) => void): void {
  const overlay = byId('drop', HTMLElement);
  const input = byId('file', HTMLInputElement);
  const isFile = ({ dataTransfer }: DragEvent): boolean => dataTransfer?.types.includes('Files') === true;
  document.addEventListener('dragover', (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    overlay.hidden = document.querySelector('dialog[open]') !== null;
  });
  document.addEventListener('dragleave', (event) => {
    // Between the elements of the page there is somewhere that it goes on to.
    if (event.relatedTarget === null) overlay.hidden = true;
  });
  document.addEventListener('drop', (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    overlay.hidden = true;
    const file = event.dataTransfer?.files[0];
    if (file !== undefined) onFile(file);
  });
  input.addEventListener('change', () => {
    const file = input.files?.[0];
    input.value = '';
    if (file !== undefined) onFile(file);
  });
  byId('choose-file', HTMLButtonElement).addEventListener('click', () => {
    input.click();
  });
}
