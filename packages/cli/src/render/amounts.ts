/** Amounts as people read them. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function bytesText(bytes: number): string {
  const unit = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), UNITS.length - 1);
  return unit === 0 ? `${bytes} B` : `${(bytes / 1024 ** unit).toFixed(1)} ${UNITS[unit]}`;
}

/** Hours and minutes, minutes and seconds, or seconds. */
export function durationText(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Of a turn or a session; '' when nothing was counted. */
export function usageText(usage: Readonly<Record<string, unknown>>): string {
  const of = (name: string) => (typeof usage[name] === 'number' ? usage[name] : 0);
  const tokensIn = of('inputTokens') + of('cacheReadTokens') + of('cacheCreationTokens');
  const [out, cost] = [of('outputTokens'), of('costUsd')];
  return [
    ...(tokensIn + out > 0 ? [`${countText(tokensIn)} tokens in, ${countText(out)} out`] : []),
    ...(cost > 0 ? [`$${cost.toFixed(4)}`] : []),
  ].join(', ');
}

function countText(count: number): string {
  if (count < 1000) return String(count);
  return count < 999_950 ? `${(count / 1000).toFixed(1)}k` : `${(count / 1e6).toFixed(1)}M`;
}
