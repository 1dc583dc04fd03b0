/**
 * Keeping keys out of what is printed.
 */

/** What stands for a secret. */
export const MASK = "***";

/** Where Node's `util.inspect`, and with it `console.log`, asks an object how it wants to be shown. */
const INSPECT = Symbol.for("nodejs.util.inspect.custom");

/** The same object, whose secret fields are masked when it is printed. Reading them and `JSON.stringify` are not changed. */
export function hidden<T extends object>(value: T, ...fields: (keyof T)[]): T {
  const shown = () => {
    const copy: Partial<Record<keyof T, unknown>> = { ...value };
    for (const field of fields) {
      if (copy[field] !== undefined) {
        copy[field] = MASK;
      }
    }
    return copy;
  };
  return Object.defineProperty(value, INSPECT, { value: shown, enumerable: false });
}
