// Numbers and times as people read them. What is not known is an en dash.

export const UNKNOWN = "–";

const whole = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

export const count = (n) => (n === null || n === undefined ? UNKNOWN : whole.format(n));

export function share(value, digits = 1) {
  if (value === null || value === undefined) return UNKNOWN;
  return `${(value * 100).toFixed(value === 0 || value === 1 ? 0 : digits)}\u00a0%`;
}

export function points(value, digits = 1) {
  if (value === null || value === undefined) return UNKNOWN;
  const shown = (Math.abs(value) * 100).toFixed(digits);
  if (Number(shown) === 0) return "0";
  return `${value < 0 ? "−" : "+"}${shown}`;
}

export function rate(value) {
  if (value === null || value === undefined) return UNKNOWN;
  return value === 0 ? "0" : value < 10 ? value.toFixed(2) : value.toFixed(value < 100 ? 1 : 0);
}

export function milliseconds(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  const value = seconds * 1000;
  return value < 1 ? value.toFixed(2) : value < 10 ? value.toFixed(1) : value.toFixed(0);
}

export function decimal(value, digits = 2) {
  if (value === null || value === undefined) return UNKNOWN;
  return value.toFixed(digits).replace("-", "−");
}

export const time = (seconds) => clock.format(new Date(seconds * 1000));

export const moment = (text) => (text ? day.format(new Date(text)) : UNKNOWN);

export function age(text, now) {
  if (!text) return UNKNOWN;
  const seconds = Math.max(0, now - Date.parse(text) / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}
