/* What the setting `descriptors` names, read and checked. */
#include "cmd/cmd_priv.h"

static struct ang_err *config_of(const struct ang_set_descriptors *d, struct ang_err **er) {
    const char *expected =
        (*er)->code == ANG_E_WIRE ? "expected what protoc --include_imports --descriptor_set_out writes; " : "";
    struct ang_err *told = ang_err_new(ANG_E_CONFIG, "%s: descriptors: %s: %s%s", d->at, d->path, expected, (*er)->msg);

    ang_err_free(er);
    return (told);
}

struct ang_err *types_load(const struct ang_settings *set, struct ang_catalog **ret_types) {
    struct ang_catalog *types = ang_catalog_new();
    struct ang_err *er;

    for (size_t i = 0; i < set->n_descriptors; i++) {
        er = ang_catalog_add_path(types, set->descriptors[i].path);
        if (er != NULL) {
            ang_catalog_free(types);
            return (config_of(&set->descriptors[i], &er));
        }
    }
    *ret_types = types;
    return (NULL);
}
