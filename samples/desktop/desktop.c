/*
 * A window on a host: the tree at the left with the states of its nodes, a text at the right. A click walks to a node, in the middle of a text
 * too; an adapter whose files change while this runs is reloaded and shown. The window's own frames tick the host, 2 ms each.
 *
 *     desktop <tree>
 */
#include <gtk/gtk.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "edgelora.h"

#define BUDGET_US 2000
#define MOST_TOKENS 96
#define BEGINNING "<|endoftext|>"
/* Where a text begins anew, so that a prompt and an answer fit the shipped base's context. */
#define LONGEST_TEXT 320

typedef struct {
    edgelora_host host;
    edgelora_session session;
    GtkListBox *tree;
    GtkTextBuffer *text;
    GtkTextView *view;
    GtkEntry *prompt;
    GtkCheckButton *dialogue;
    GtkLabel *status, *news;
    gboolean speaking;
    gint64 second_start, worst_us, spent_us;
    int ticks, kept, tokens;
} desktop;

static void tell(desktop *self, const char *what)
{
    char *line = g_strdup_printf("%s: %s", what, edgelora_last_error());
    gtk_label_set_text(self->news, line);
    g_free(line);
}

/* Appends text, with a tag or without, and keeps the end in sight. */
static void append(desktop *self, const char *text, const char *tag)
{
    GtkTextIter end;
    gtk_text_buffer_get_end_iter(self->text, &end);
    gtk_text_buffer_insert_with_tags_by_name(self->text, &end, text, -1, tag, NULL);
    gtk_text_buffer_get_end_iter(self->text, &end);
    gtk_text_buffer_move_mark_by_name(self->text, "end", &end);
    gtk_text_view_scroll_mark_onscreen(self->view, gtk_text_buffer_get_mark(self->text, "end"));
}

/* A node's line: indented, with a mark for its state; bold where the session stands. */
static char *line_of(const edgelora_node *node, const char *here)
{
    static const char *const marks[] = {
        "<span foreground='#999999'>\u25cb</span>", "<span foreground='#c09000'>\u25d0</span>", "<span foreground='#40a0ff'>\u25cf</span>",
        "<span foreground='#20a040'>\u25cf</span>", "<span foreground='#999999'>\u25cc</span>", "<span foreground='#d02020'>\u2716</span>"
    };
    static const char *const states[] = { "discovered", "staged", "resident", "active", "evicted", "faulted" };
    const char *slash = strrchr(node->path, '/'), *name = node->depth == 0 ? "base" : slash != NULL ? slash + 1 : node->path;
    char *safe = g_markup_escape_text(name, -1), *generation = node->generation > 0 ? g_strdup_printf(" #%d", node->generation) : g_strdup("");
    gboolean standing = strcmp(node->path, here) == 0;
    int state = node->depth == 0 ? EDGELORA_NODE_RESIDENT : node->state;
    char *line = g_strdup_printf("%*s%s %s%s%s  <span size='small' alpha='60%%'>%s%s</span>", 4 * node->depth, "", marks[state], standing ? "<b>" : "", safe, standing ? "</b>" : "",
                                 node->depth == 0 ? "loaded once" : states[node->state], generation);
    g_free(safe);
    g_free(generation);
    return line;
}

typedef struct {
    char *path, *line, *faults;
} shown_node;

static void free_node(gpointer data)
{
    shown_node *node = data;
    g_free(node->path);
    g_free(node->line);
    g_free(node->faults);
    g_free(node);
}

/* By path, a node right before those below it: a slash comes before all that names may have. */
static gint by_path(gconstpointer left, gconstpointer right)
{
    const char *a = (*(shown_node *const *)left)->path, *b = (*(shown_node *const *)right)->path;
    while (*a != 0 && *a == *b)
        a++, b++;
    return (*a == '/' ? 1 : (unsigned char)*a) - (*b == '/' ? 1 : (unsigned char)*b);
}

/* Brings the list up to the tree: one row a node. */
static void show_tree(desktop *self)
{
    edgelora_session_info info = { .size = sizeof info };
    edgelora_session_get(self->session, &info);
    edgelora_node node = { .size = sizeof node };
    GPtrArray *nodes = g_ptr_array_new_with_free_func(free_node);
    for (int32_t i = 0; edgelora_node_at(self->host, i, &node) == EDGELORA_OK; i++) {
        shown_node *shown = g_new(shown_node, 1);
        *shown = (shown_node){ g_strdup(node.path), line_of(&node, info.node), g_strdup(node.faults) };
        g_ptr_array_add(nodes, shown);
    }
    g_ptr_array_sort(nodes, by_path);
    for (guint i = 0; i < nodes->len; i++) {
        const shown_node *shown = g_ptr_array_index(nodes, i);
        GtkListBoxRow *row = gtk_list_box_get_row_at_index(self->tree, (int)i);
        if (row == NULL) {
            GtkWidget *label = gtk_label_new(NULL);
            gtk_label_set_xalign(GTK_LABEL(label), 0);
            gtk_list_box_append(self->tree, label);
            row = gtk_list_box_get_row_at_index(self->tree, (int)i);
        }
        GtkLabel *label = GTK_LABEL(gtk_list_box_row_get_child(row));
        if (strcmp(gtk_label_get_label(label), shown->line) != 0)
            gtk_label_set_markup(label, shown->line);
        gtk_widget_set_tooltip_text(GTK_WIDGET(row), shown->faults[0] != 0 ? shown->faults : NULL);
        g_object_set_data_full(G_OBJECT(row), "path", g_strdup(shown->path), g_free);
        if (strcmp(shown->path, info.node) == 0)
            gtk_list_box_select_row(self->tree, row);
    }
    for (GtkListBoxRow *row; (row = gtk_list_box_get_row_at_index(self->tree, (int)nodes->len)) != NULL;)
        gtk_list_box_remove(self->tree, GTK_WIDGET(row));
    g_ptr_array_unref(nodes);
}

static void show_events(desktop *self)
{
    static const char *const kinds[] = { "discovered", "staged", "resident", "active", "evicted", "reloaded", "refused", "unmounted" };
    edgelora_event happened = { .size = sizeof happened };
    int32_t found = 1;
    gboolean any = FALSE;
    while (edgelora_event_next(self->host, &happened, &found) == EDGELORA_OK && found) {
        any = TRUE;
        /* Coming and going between memories is seen in the tree; this is news. */
        if (happened.kind != EDGELORA_EVENT_RELOADED && happened.kind != EDGELORA_EVENT_FAULTED && happened.kind != EDGELORA_EVENT_DISCOVERED && happened.kind != EDGELORA_EVENT_UNMOUNTED)
            continue;
        char *line = g_strdup_printf("%s: %s, generation %d%s%s", happened.node, kinds[happened.kind], happened.generation, happened.faults[0] != 0 ? ": " : "", happened.faults);
        gtk_label_set_text(self->news, line);
        if (happened.kind == EDGELORA_EVENT_RELOADED) {
            char *mark = g_strdup_printf(" [%s reloaded] ", happened.node);
            append(self, mark, "news");
            g_free(mark);
        }
        g_free(line);
    }
    if (any)
        show_tree(self);
}

static void show_second(desktop *self, gint64 now)
{
    if (now - self->second_start < G_USEC_PER_SEC)
        return;
    char *line = g_strdup_printf("%d frames/s, %d within %d ms and one pass; %.2f ms a tick, longest %.2f ms; %d tokens/s", self->ticks, self->kept, BUDGET_US / 1000,
                                 self->ticks > 0 ? 1e-3 * (double)self->spent_us / self->ticks : 0.0, 1e-3 * (double)self->worst_us, self->tokens);
    gtk_label_set_text(self->status, line);
    g_free(line);
    self->second_start = now;
    self->ticks = self->kept = self->tokens = 0;
    self->worst_us = self->spent_us = 0;
}

/* Once a frame. */
static gboolean on_frame(GtkWidget *widget, GdkFrameClock *clock, gpointer data)
{
    (void)widget;
    desktop *self = data;
    edgelora_tick_report report = { .size = sizeof report };
    if (edgelora_tick(self->host, BUDGET_US, &report) != EDGELORA_OK) {
        tell(self, "tick");
        return G_SOURCE_REMOVE;
    }
    self->ticks++;
    self->kept += report.elapsed_us <= report.budget_us + report.longest_step_us;
    self->tokens += report.new_tokens;
    self->spent_us += report.elapsed_us;
    self->worst_us = MAX(self->worst_us, report.elapsed_us);
    if (self->speaking) {
        char text[512];
        size_t length;
        int32_t finished;
        if (edgelora_session_read(self->session, text, sizeof text, &length, &finished, NULL) != EDGELORA_OK) {
            tell(self, "text");
            finished = 1;
        }
        if (length > 0)
            append(self, text, NULL);
        self->speaking = !finished;
    }
    show_events(self);
    show_second(self, gdk_frame_clock_get_frame_time(clock));
    return G_SOURCE_CONTINUE;
}

static void on_row(GtkListBox *box, GtkListBoxRow *row, gpointer data)
{
    (void)box;
    desktop *self = data;
    const char *path = g_object_get_data(G_OBJECT(row), "path");
    gint64 start = g_get_monotonic_time();
    if (edgelora_session_switch(self->session, path, EDGELORA_KV_RECOMPUTE) != EDGELORA_OK) {
        tell(self, path);
    } else {
        char *line = g_strdup_printf("walked to %s in %.2f ms", path[0] != 0 ? path : "base", 1e-3 * (double)(g_get_monotonic_time() - start));
        gtk_label_set_text(self->news, line);
        g_free(line);
        char *mark = g_strdup_printf(" [%s] ", path[0] != 0 ? path : "base");
        append(self, mark, "node");
        g_free(mark);
    }
    show_tree(self);
}

/* What the model is given: the text as it is, or a dialogue's turn as the base's template writes it, behind the token that the shipped base begins with. To be freed. */
static char *prompt_of(desktop *self, const char *said, gboolean dialogue, gboolean first)
{
    if (!dialogue)
        return g_strconcat(first ? BEGINNING : " ", said, NULL);
    const char *role = "user";
    size_t length;
    if (edgelora_chat_prompt(self->host, &role, &said, 1, NULL, 0, &length) != EDGELORA_OK)
        return NULL;
    char *turn = g_malloc(length + 1), *prompt = NULL;
    if (edgelora_chat_prompt(self->host, &role, &said, 1, turn, length + 1, &length) == EDGELORA_OK)
        prompt = g_strconcat(BEGINNING, turn, NULL);
    g_free(turn);
    return prompt;
}

static void on_prompt(GtkEntry *entry, gpointer data)
{
    desktop *self = data;
    const char *said = gtk_editable_get_text(GTK_EDITABLE(entry));
    edgelora_session_info info = { .size = sizeof info };
    edgelora_session_get(self->session, &info);
    if (said[0] == 0 || info.state != EDGELORA_SESSION_IDLE)
        return;
    /* The shipped base was trained on dialogues of one turn. */
    gboolean dialogue = gtk_check_button_get_active(self->dialogue), first = dialogue || info.token_count == 0 || info.token_count > LONGEST_TEXT;
    if (first)
        edgelora_session_truncate(self->session, 0);
    edgelora_generate_options options = { .size = sizeof options, .max_tokens = MOST_TOKENS, .temperature = dialogue ? 0.3 : 0.7, .top_k = 40, .repetition_penalty = 1.1, .seed = (uint64_t)g_get_monotonic_time() };
    char *prompt = prompt_of(self, said, dialogue, first);
    if (prompt == NULL || edgelora_generate(self->session, prompt, &options) != EDGELORA_OK) {
        tell(self, "prompt");
    } else {
        append(self, "\n\n", NULL);
        append(self, said, "said");
        append(self, dialogue ? "\n" : "", NULL);
        self->speaking = TRUE;
        gtk_editable_set_text(GTK_EDITABLE(entry), "");
    }
    g_free(prompt);
}

static GtkWidget *scrolled(GtkWidget *child)
{
    GtkWidget *scroll = gtk_scrolled_window_new();
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(scroll), child);
    gtk_widget_set_vexpand(scroll, TRUE);
    return scroll;
}

static GtkLabel *line_below(GtkWidget *box)
{
    GtkWidget *label = gtk_label_new("");
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_label_set_ellipsize(GTK_LABEL(label), PANGO_ELLIPSIZE_END);
    gtk_box_append(GTK_BOX(box), label);
    return GTK_LABEL(label);
}

static void on_activate(GtkApplication *application, gpointer data)
{
    desktop *self = data;
    GtkWidget *window = gtk_application_window_new(application), *paned = gtk_paned_new(GTK_ORIENTATION_HORIZONTAL), *right = gtk_box_new(GTK_ORIENTATION_VERTICAL, 6);
    gtk_window_set_title(GTK_WINDOW(window), "EdgeLora");
    gtk_window_set_default_size(GTK_WINDOW(window), 920, 560);

    self->tree = GTK_LIST_BOX(gtk_list_box_new());
    gtk_list_box_set_activate_on_single_click(self->tree, TRUE);
    g_signal_connect(self->tree, "row-activated", G_CALLBACK(on_row), self);
    gtk_paned_set_start_child(GTK_PANED(paned), scrolled(GTK_WIDGET(self->tree)));
    gtk_paned_set_position(GTK_PANED(paned), 240);

    GtkWidget *view = gtk_text_view_new(), *row = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6);
    self->view = GTK_TEXT_VIEW(view);
    gtk_text_view_set_editable(self->view, FALSE);
    gtk_text_view_set_cursor_visible(self->view, FALSE);
    gtk_text_view_set_wrap_mode(self->view, GTK_WRAP_WORD_CHAR);
    gtk_text_view_set_left_margin(self->view, 12);
    gtk_text_view_set_right_margin(self->view, 12);
    self->text = gtk_text_view_get_buffer(self->view);
    gtk_text_buffer_create_tag(self->text, "said", "weight", PANGO_WEIGHT_BOLD, NULL);
    gtk_text_buffer_create_tag(self->text, "node", "foreground", "#3070c0", "scale", 0.85, NULL);
    gtk_text_buffer_create_tag(self->text, "news", "foreground", "#c06000", "scale", 0.85, NULL);
    GtkTextIter end;
    gtk_text_buffer_get_end_iter(self->text, &end);
    gtk_text_buffer_create_mark(self->text, "end", &end, FALSE);
    gtk_box_append(GTK_BOX(right), scrolled(view));

    self->prompt = GTK_ENTRY(gtk_entry_new());
    gtk_entry_set_placeholder_text(self->prompt, "Once upon a time");
    gtk_widget_set_hexpand(GTK_WIDGET(self->prompt), TRUE);
    g_signal_connect(self->prompt, "activate", G_CALLBACK(on_prompt), self);
    self->dialogue = GTK_CHECK_BUTTON(gtk_check_button_new_with_label("dialogue"));
    gtk_widget_set_tooltip_text(GTK_WIDGET(self->dialogue), "Writes what you say as the base's chat template does: what the assistant nodes were trained on");
    gtk_box_append(GTK_BOX(row), GTK_WIDGET(self->prompt));
    gtk_box_append(GTK_BOX(row), GTK_WIDGET(self->dialogue));
    gtk_box_append(GTK_BOX(right), row);
    self->news = line_below(right);
    self->status = line_below(right);
    gtk_widget_set_margin_start(right, 6);
    gtk_widget_set_margin_end(right, 6);
    gtk_widget_set_margin_bottom(right, 6);
    gtk_paned_set_end_child(GTK_PANED(paned), right);
    gtk_window_set_child(GTK_WINDOW(window), paned);

    show_tree(self);
    gtk_widget_add_tick_callback(window, on_frame, self, NULL);
    gtk_widget_grab_focus(GTK_WIDGET(self->prompt));
    gtk_window_present(GTK_WINDOW(window));
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        g_printerr("desktop <tree>\n");
        return 2;
    }
    desktop self = { 0 };
    /* The shipped base is small: one thread is enough, and none spins beside the window's. */
    edgelora_open_options options = { .size = sizeof options, .tree = argv[1], .threads = 1, .watch = 1 };
    edgelora_session_options following = { .size = sizeof following, .reload = EDGELORA_RELOAD_MOVE_AT_ONCE };
    if (edgelora_open(&options, &self.host) != EDGELORA_OK || edgelora_session_open(self.host, "", &following, &self.session) != EDGELORA_OK) {
        g_printerr("%s\n", edgelora_last_error());
        return 1;
    }
    GtkApplication *application = gtk_application_new(NULL, G_APPLICATION_NON_UNIQUE);
    g_signal_connect(application, "activate", G_CALLBACK(on_activate), &self);
    int status = g_application_run(G_APPLICATION(application), 0, NULL);
    g_object_unref(application);
    edgelora_close(self.host);
    return status;
}
