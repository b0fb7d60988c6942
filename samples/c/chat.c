/*
 * A host, opened from C: its nodes, a text at two of them, a walk in the middle of a text, and an adapter that is changed underneath.
 *
 *     chat <tree> [<node> <other node>]     tells all of it, and its times
 *     chat <tree> --cycles <n>              opens, speaks and closes n times: counts handles and memory
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "edgelora.h"

#define STORY "Once upon a time"
#define PROMPT "<|endoftext|>" STORY

/* Ends the program where a call failed, with what the library says of it. */
static void ok(int32_t status, const char *what)
{
    if (status == EDGELORA_OK)
        return;
    fprintf(stderr, "%s: error %d: %s\n", what, status, edgelora_last_error());
    exit(1);
}

static double milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static edgelora_host open_tree(const char *tree, int32_t threads)
{
    edgelora_open_options options = { .size = sizeof options, .tree = tree, .threads = threads };
    edgelora_host host;
    ok(edgelora_open(&options, &host), tree);
    return host;
}

/* Ticks once and prints what came; 1 when the generation has ended. */
static int32_t step(edgelora_host host, edgelora_session session, FILE *to)
{
    char text[256];
    size_t length;
    int32_t finished;
    ok(edgelora_tick(host, 2000, NULL), "tick");
    ok(edgelora_session_read(session, text, sizeof text, &length, &finished, NULL), "read");
    if (to != NULL)
        fputs(text, to);
    return finished;
}

static void speak(edgelora_host host, edgelora_session session, const char *prompt, int32_t tokens, FILE *to)
{
    edgelora_generate_options options = { .size = sizeof options, .max_tokens = tokens, .ignore_end = 1 };
    ok(edgelora_generate(session, prompt, &options), "generate");
    while (!step(host, session, to)) {
    }
    if (to != NULL)
        fputs("\n", to);
}

static void list(edgelora_host host)
{
    static const char *const states[] = { "discovered", "staged", "resident", "active", "evicted", "faulted" };
    edgelora_node node = { .size = sizeof node };
    for (int32_t i = 0; edgelora_node_at(host, i, &node) == EDGELORA_OK; i++)
        printf("  %-28s %-10s generation %d, %" PRId64 " bytes%s%s\n", node.depth == 0 ? "(base)" : node.path, node.depth == 0 ? "loaded" : states[node.state], node.generation, node.bytes, node.faults[0] != 0 ? ": " : "", node.faults);
}

static long resident_kib(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%ld %ld", &pages, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * 4;
}

static int cycles(const char *tree, int count)
{
    /* The first ones fill the runtime's own caches. */
    int warm = count / 10 + 1;
    long before = 0;
    for (int i = 0; i < warm + count; i++) {
        if (i == warm)
            before = resident_kib();
        edgelora_host host = open_tree(tree, 1);
        edgelora_session session, other;
        ok(edgelora_session_open(host, "math", NULL, &session), "session");
        ok(edgelora_session_open(host, "shakespeare/kings", NULL, &other), "session");
        speak(host, session, PROMPT, 2, NULL);
        ok(edgelora_session_close(session), "close session");
        ok(edgelora_close(host), "close");
        if (edgelora_session_cancel(other) != EDGELORA_ERROR_HANDLE || edgelora_tick(host, 0, NULL) != EDGELORA_ERROR_HANDLE) {
            fprintf(stderr, "a stale handle was taken\n");
            return 1;
        }
    }
    printf("%d hosts opened and closed: %d handles left, resident memory %ld KiB before, %ld KiB after\n", count, edgelora_live_handles(), before, resident_kib());
    return edgelora_live_handles() == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "chat <tree> [<node> <other node>]\nchat <tree> --cycles <n>\n");
        return 2;
    }
    const char *tree = argv[1];
    if (edgelora_abi_version() != EDGELORA_ABI_VERSION) {
        fprintf(stderr, "edgelora.h is version %d, the library %u\n", EDGELORA_ABI_VERSION, edgelora_abi_version());
        return 1;
    }
    if (argc == 4 && strcmp(argv[2], "--cycles") == 0)
        return cycles(tree, atoi(argv[3]));
    const char *node = argc > 3 ? argv[2] : "shakespeare/kings", *other = argc > 3 ? argv[3] : "holmes";

    double start = milliseconds();
    edgelora_host host = open_tree(tree, 0);
    double opened = milliseconds();
    edgelora_session session;
    ok(edgelora_session_open(host, node, NULL, &session), node);
    edgelora_generate_options options = { .size = sizeof options, .max_tokens = 40, .ignore_end = 1 };
    ok(edgelora_generate(session, PROMPT, &options), "generate");
    edgelora_session_info info = { .size = sizeof info };
    edgelora_tick_report report = { .size = sizeof report };
    int32_t first_tokens = 0;
    while (first_tokens == 0) {
        ok(edgelora_tick(host, 2000, &report), "tick");
        first_tokens = report.new_tokens;
    }
    double first = milliseconds();
    printf("EdgeLora %s: open %.1f ms, from there to the first token %.1f ms\n", edgelora_version(), opened - start, first - opened);
    list(host);

    printf("\n[%s] " STORY, node);
    while (!step(host, session, stdout)) {
    }

    /* The same session walks in the middle of its text: nothing is copied, the base is not touched. */
    double switching = milliseconds();
    ok(edgelora_session_switch(session, other, EDGELORA_KV_RECOMPUTE), other);
    double switched = milliseconds();
    printf("\n[%s] Then", other);
    speak(host, session, " Then", 24, stdout);
    printf("(the switch took %.1f ms: the adapter was read and tried)\n", switched - switching);

    /* Another session at the first node, served beside it; then the adapter is read again, as after a change of its file. */
    edgelora_session second;
    edgelora_session_options following = { .size = sizeof following, .reload = EDGELORA_RELOAD_MOVE_AT_ONCE };
    ok(edgelora_session_open(host, node, &following, &second), node);
    ok(edgelora_generate(second, PROMPT, &options), "generate");
    for (int i = 0; i < 5; i++)
        step(host, second, NULL);
    ok(edgelora_reload(host, node, 1), "reload");
    printf("\n[%s, after it was reloaded underneath] " STORY " ...", node);
    while (!step(host, second, stdout)) {
    }
    ok(edgelora_session_get(second, &info), "session");
    printf("\n(it stands on generation %d now)\n\n", info.node_generation);

    edgelora_event happened = { .size = sizeof happened };
    static const char *const kinds[] = { "discovered", "staged", "resident", "activated", "evicted", "reloaded", "faulted", "unmounted" };
    for (int32_t found = 1; found;) {
        ok(edgelora_event_next(host, &happened, &found), "events");
        if (found)
            printf("  %s %s #%d%s%s\n", kinds[happened.kind], happened.node, happened.generation, happened.faults[0] != 0 ? ": " : "", happened.faults);
    }
    edgelora_stats stats = { .size = sizeof stats };
    ok(edgelora_stats_get(host, &stats), "stats");
    printf("%" PRId64 " tokens in %" PRId64 " ticks, %" PRId64 " of them within budget and one pass; %" PRId64 " adapters resident\n", stats.new_tokens, stats.ticks, stats.ticks_kept, stats.resident_adapters);
    ok(edgelora_close(host), "close");
    printf("%d handles left\n", edgelora_live_handles());
    return edgelora_live_handles() == 0 ? 0 : 1;
}
