/** The names of devices: `cpu`, `webgpu`, `coreml`, `cuda:1`, several separated by commas, or `auto`. */

/** What always works. */
export const CPU = 'cpu';
/** Whichever works best here. */
export const AUTO = 'auto';

/** Kinds of accelerators, the best first; of those in NUMBERED_DEVICES there may be several in a machine. */
export const ACCELERATORS = ['cuda', 'dml', 'coreml', 'webgpu'] as const;
const NUMBERED_DEVICES: readonly string[] = ['cuda', 'dml'];

/** The devices that a setting names, each in its full form: `cuda` is `cuda:0`. */
export function devicesOf(setting: string): readonly string[] {
  return setting.split(',').map((name) => {
    const device = name.trim();
    return NUMBERED_DEVICES.includes(device) ? `${device}:0` : device;
  });
}

/** For what needs one only; the CPU where the choice is left to the server. */
export function firstDeviceOf(setting: string): string {
  return setting === AUTO ? CPU : (devicesOf(setting)[0] ?? CPU);
}

/** True for what the setting may be: `auto` or `cpu` alone, or accelerators, each once. */
export function isDeviceSetting(setting: string): boolean {
  const devices = devicesOf(setting);
  if (devices.length === 1 && [AUTO, CPU].includes(setting)) return true;
  return new Set(devices).size === devices.length && devices.every(isNamed);
}

function isNamed(device: string): boolean {
  const [kind = '', index] = device.split(':');
  if (!ACCELERATORS.some((known) => known === kind)) return false;
  return NUMBERED_DEVICES.includes(kind) ? /^\d{1,2}$/.test(index ?? '') : index === undefined;
}
