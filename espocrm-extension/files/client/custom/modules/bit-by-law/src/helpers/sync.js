define([], () => {

    const SCOPE = 'CBeteiligte';
    const POLL_MS = 1500;
    const POLLS = 8;
    const RUNNING = ['pending_sync', 'dirty', 'syncing'];
    const REASONS = ['not_set_up', 'busy', 'unknown', 'not_gone', 'is_there', 'restored', 'slow', 'unreachable'];

    /**
     * Calls the actions of the extension's API, and shows what comes of them.
     */
    return class {

        /** @param {module:view} view */
        constructor(view) {
            this.view = view;
        }

        static isSetUp(view) {
            return !!(view.getHelper().getAppParam('bitbylaw') || {}).actions;
        }

        /**
         * Syncs a Beteiligter, then shows how it stands.
         *
         * @param {module:model} model The Beteiligter.
         * @param {module:model} [shown] The record on the screen, if it is another one.
         */
        async run(model, shown) {
            if (!await this.post(`${model.id}/sync`)) {
                return;
            }

            this.notify('syncRunning');

            await this.follow(model, shown || model);
        }

        async runMany(ids) {
            const answer = await this.post('sync', {ids: ids});

            if (!answer) {
                return;
            }

            const key = answer.skipped ? 'syncQueuedSkipped' : 'syncQueued';

            Espo.Ui.success(
                this.text(key).replace('{count}', answer.count).replace('{skipped}', answer.skipped)
            );

            await this.pause();
            await this.view.collection.fetch();
        }

        async preview(model) {
            const answer = await this.post(`${model.id}/preview`);

            if (!answer) {
                return;
            }

            Espo.Ui.notify(false);

            const dialog = await this.view.createView('dialog', 'bit-by-law:views/beteiligte/modals/preview', {
                answer: answer,
                name: this.nameOf(model),
                maySync: this.view.getAcl().check(model, 'edit'),
            });

            this.view.listenToOnce(dialog, 'sync', () => this.run(model));

            await dialog.render();
        }

        async createAgain(model) {
            const message = this.text('confirmCreateAgain')
                .replace('{name}', this.nameOf(model))
                .replace('{betnr}', model.get('betnr') || '–');

            await this.view.confirm({
                message: message,
                confirmText: this.view.translate('Create Again', 'labels', SCOPE),
                confirmStyle: 'danger',
            });

            if (!await this.post(`${model.id}/createAgain`)) {
                // The page may be older than the record, as after a colleague has pressed the button.
                await model.fetch();

                return;
            }

            this.notify('createAgainRunning');

            await this.follow(model, model);
        }

        /**
         * Looks at the record a few times, until the sync has come to its end.
         *
         * @private
         */
        async follow(model, shown) {
            const before = model.get('advowareLastSync');

            for (let i = 0; i < POLLS; i++) {
                await this.pause();

                if (this.isLeft()) {
                    return;
                }

                await model.fetch();

                const isOver = !RUNNING.includes(model.get('syncStatus'));

                if (isOver && (i > 1 || model.get('advowareLastSync') !== before)) {
                    break;
                }
            }

            if (!this.isLeft()) {
                await shown.fetch();

                // The panels below: addresses, accounts, tasks, stream.
                shown.trigger('update-all');
            }

            this.tell(model.get('syncStatus'));
        }

        /** @private */
        tell(status) {
            const label = this.view.getLanguage().translateOption(status, 'syncStatus', SCOPE);
            const message = this.text('syncState').replace('{status}', label);

            if (status === 'clean') {
                Espo.Ui.success(message);

                return;
            }

            Espo.Ui.warning(message);
        }

        /**
         * Whether the user has gone on to something else, which must not be disturbed.
         *
         * @private
         */
        isLeft() {
            const view = this.view;

            return !view.element || !document.body.contains(view.element) ||
                view.mode === 'edit' || !!view.inlineEditModeIsOn;
        }

        /** @private */
        async post(path, data) {
            Espo.Ui.notify(this.view.translate('pleaseWait', 'messages'));

            try {
                return await Espo.Ajax.postRequest(`BitByLaw/${SCOPE}/${path}`, data || {}, {timeout: 25000});
            } catch (xhr) {
                this.explain(xhr);

                return null;
            }
        }

        /** @private */
        explain(xhr) {
            let reason = null;

            try {
                reason = JSON.parse(xhr.responseText).reason;
            } catch (e) {
                // EspoCRM's own answer, such as a missing right.
            }

            if (!reason) {
                return;
            }

            xhr.errorIsHandled = true;

            Espo.Ui.error(this.text('reason_' + (REASONS.includes(reason) ? reason : 'unavailable')), true);
        }

        /** @private */
        nameOf(model) {
            return model.get('name') || model.get('firmenname') || '';
        }

        /** @private */
        notify(key) {
            Espo.Ui.notify(this.text(key), 'info', POLL_MS * (POLLS + 2));
        }

        /** @private */
        text(key) {
            return this.view.translate(key, 'messages', 'BitByLaw');
        }

        /** @private */
        pause() {
            return new Promise(resolve => setTimeout(resolve, POLL_MS));
        }
    };
});
