/** What a person has chosen in the settings, as it is kept between visits. Pure. */
import { CAPTURE_WAYS, type CaptureWay } from '../capture_way.ts';

export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

export interface Preferences {
  /** Empty for the browser's choice. */
  readonly deviceId: string;
  readonly echoCancellation: boolean;
  readonly noiseSuppression: boolean;
  readonly autoGainControl: boolean;
  readonly silenceMs: number;
  /** Empty for the best. */
  readonly way: CaptureWay | '';
  readonly theme: Theme;
  /** Single keys do things; people who speak to their computer may not want that. */
  readonly shortcuts: boolean;
}

export const DEFAULT_PREFERENCES: Preferences = {
  deviceId: '',
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
  silenceMs: 500,
  way: '',
  theme: 'system',
  shortcuts: true,
};

const SILENCE_MIN_MS = 200;
const SILENCE_MAX_MS = 1_500;

/** Reads what was kept; whatever is not valid is as if it was never chosen. */
export function parsePreferences(text: string | null): Preferences {
  const kept = parseObject(text);
  const flag = (name: 'echoCancellation' | 'noiseSuppression' | 'autoGainControl' | 'shortcuts'): boolean =>
    typeof kept[name] === 'boolean' ? kept[name] : DEFAULT_PREFERENCES[name];
  const { deviceId, silenceMs, way, theme } = kept;
  return {
    deviceId: typeof deviceId === 'string' ? deviceId : '',
    echoCancellation: flag('echoCancellation'),
    noiseSuppression: flag('noiseSuppression'),
    autoGainControl: flag('autoGainControl'),
    silenceMs:
      typeof silenceMs === 'number' && silenceMs >= SILENCE_MIN_MS && silenceMs <= SILENCE_MAX_MS
        ? silenceMs
        : DEFAULT_PREFERENCES.silenceMs,
    way: captureWayOf(way) ?? '',
    theme: THEMES.find((candidate) => candidate === theme) ?? DEFAULT_PREFERENCES.theme,
    shortcuts: flag('shortcuts'),
  };
}

/** The way of capture that a value names, if it names one. */
export function captureWayOf(value: unknown): CaptureWay | undefined {
  return CAPTURE_WAYS.find((way) => way === value);
}

function parseObject(text: string | null): Partial<Record<keyof Preferences, unknown>> {
  try {
    const content: unknown = JSON.parse(text ?? '{}');
    return typeof content === 'object' && content !== null ? content : {};
  } catch {
    return {};
  }
}
