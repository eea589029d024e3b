/* contract embedded|kafka [FILTER]      runs the suite over one log */
#include <stdio.h>
#include <stdlib.h>

#include "contract.h"

static int usage(void) {
    fprintf(stderr, "usage: contract embedded|kafka [FILTER]\n");
    return (2);
}

int main(int argc, char **argv) {
    bool kafka;
    int failed = 0;
    struct ang_err *er = ang_log_setup("error,human");

    ang_err_free(&er);
    if (argc < 2)
        return (usage());
    kafka = strcmp(argv[1], "kafka") == 0;
    if (!kafka && strcmp(argv[1], "embedded") != 0)
        return (usage());
    ct_use(kafka);
    if (kafka)
        (void)ct_bootstrap();
    if (argc > 3 && strcmp(argv[2], "--child") == 0)
        return (kafka ? ct_commit_child(argc - 3, argv + 3) : ct_kill_child(argc - 3, argv + 3));
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    failed += ct_topics_tests();
    failed += ct_append_tests();
    failed += ct_reader_tests();
    failed += ct_txn_tests();
    failed += ct_restart_tests();
    failed += ct_look_tests();
    if (kafka) {
        failed += ct_kafka_tests();
    } else {
        failed += ct_embedded_tests();
        failed += ct_kill_tests();
        failed += ct_look_embedded_tests();
    }
    return (failed == 0 ? 0 : 1);
}
