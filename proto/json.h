/* protobuf's JSON mapping: the bytes of a message to JSON text and back, by a type from types.h.
 *
 *     type = ang_types_message(ty, ang_slice_str("shop.CreateOrder"));
 *     er = ang_json_parse(type, ang_slice_str("{\"orderId\": \"o-1\", \"lines\": [{\"sku\": \"x\"}]}"), NULL, &bytes);
 *     …
 *     er = ang_json_print(type, ang_buf_slice(&bytes), &(struct ang_json_opts){.pretty = true}, &text);
 *
 * The mapping is the one of https://protobuf.dev/programming-guides/json, for proto3 and proto2: lowerCamelCase names,
 * 64-bit integers as strings, bytes as base64, enums by name, fields without presence left out at their default value,
 * and the well-known types (Any, Timestamp, Duration, FieldMask, Struct, Value, ListValue, Empty and the wrappers) in
 * their own forms.  An Any is converted by the type its type_url names, looked up in the pool that `type` is from.
 *
 * Printing reads bytes as every protobuf parser does: unknown fields and extensions are passed over, repeated numbers may
 * be packed or not, the last of several values counts, and messages given in pieces are merged.  Fields come in the order
 * of their numbers, map entries sorted by key: equal messages give equal text.  What a closed (proto2) enum does not know
 * is passed over, in an open one it is printed as a number.
 *
 * Parsing accepts both names of a field, numbers as strings, base64 of both alphabets with or without padding, and null
 * for "absent".  It refuses what it cannot put anywhere: unknown names, a field or map key or member of a oneof that comes
 * twice, a number out of range or with a fraction, required fields that are missing.  It writes fields in the order of the
 * text, repeated numbers packed where the .proto file has them so.
 *
 * Not supported, and said by name: groups, and extensions in text ("[shop.note]").
 *
 * Limits, both ways: DEPTH messages inside each other (map entries and what is in an Any count), so that what we write can
 * be read by parsers with the usual limit; opts->max bytes in and out.  Text must be UTF-8.
 *
 * Errors: ANG_E_JSON for text, ANG_E_WIRE for bytes; ANG_E_TOO_BIG for the size.  They name the place by its path in JSON,
 * "pages[0].command.foo: shop.CreateOrder has no such field" or "labels["a b"]: …", or, when the text is no JSON at
 * all, by line and column.  After an error `ret` is as it was before.
 *
 * Thread-safe: no state; reads the linked pool only. */
#ifndef ANG_JSON_H
#define ANG_JSON_H

#include "proto/types.h"

#define ANG_JSON_DEPTH 100
#define ANG_JSON_MAX   (64u << 20) /* opts->max, when that is 0 */

/* An Any whose type_url names no type of the pool. */
enum ang_json_any {
    ANG_JSON_ANY_RAW,    /* {"@type": url, "value": "<base64>"}; read back from the same */
    ANG_JSON_ANY_REFUSE, /* an error that names the url */
    ANG_JSON_ANY_SHOW    /* as RAW; and one whose payload is not what its type says is printed like it too, with the
                            reason as "@error", so that one bad payload does not hide the rest.  For people: such
                            an object is not read back. */
};

struct ang_json_opts {
    enum ang_json_any any;
    bool proto_names; /* printing: names as the .proto file has them (created_at, not createdAt) */
    bool defaults;    /* printing: fields without presence also when they have their default value; [] and {} too */
    bool pretty;      /* printing: indented by two spaces, else one line; no newline at the end either way */
    size_t max;       /* bytes read, and bytes written; 0: ANG_JSON_MAX */
};

/* Appends the JSON text of an encoded message to ret.  opts may be NULL: all 0. */
struct ang_err *ang_json_print(const struct ang_type *type, struct ang_slice message, const struct ang_json_opts *opts,
                               struct ang_buf *ret) ANG_MUST_USE;
/* Appends the encoded message that the JSON text describes to ret.  opts may be NULL: all 0. */
struct ang_err *ang_json_parse(const struct ang_type *type, struct ang_slice text, const struct ang_json_opts *opts,
                               struct ang_buf *ret) ANG_MUST_USE;
/* Appends s as a JSON string with its quotes, for who writes JSON around messages.  Bytes that are not UTF-8 become
 * U+FFFD. */
void ang_json_add_string(struct ang_buf *b, struct ang_slice s);

#endif
