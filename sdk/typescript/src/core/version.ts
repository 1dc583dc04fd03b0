/** The version of both packages. */
export const VERSION = "0.1.0";
