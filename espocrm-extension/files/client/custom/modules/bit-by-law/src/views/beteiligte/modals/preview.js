define(['views/modal'], (Dep) => {

    /**
     * What the next sync of a Beteiligter would do. Nothing has been written.
     */
    return class extends Dep {

        className = 'dialog dialog-record';
        backdrop = true;

        // language=Handlebars
        templateContent = `
            <p class="text-muted">{{note}}</p>
            {{#if isNothing}}<p>{{nothing}}</p>{{/if}}
            {{#each groups}}
                <h4>{{heading}}</h4>
                {{#each changes}}
                    <div class="panel panel-default">
                        <div class="panel-heading">
                            <h4 class="panel-title">
                                <span>{{title}}</span>
                                {{#if isNew}}<span class="text-success" style="margin-left: 8px;">{{../../new}}</span>{{/if}}
                            </h4>
                        </div>
                        <div class="panel-body">
                            {{#each fields}}
                                <div class="row" style="overflow-wrap: anywhere;">
                                    <div class="col-sm-4 text-muted">{{label}}</div>
                                    <div class="col-sm-8 margin-bottom-sm">
                                        {{#if old}}<del class="text-muted">{{old}}</del> <span class="fas fa-arrow-right fa-sm text-muted"></span>{{/if}}
                                        {{#if new}}{{new}}{{else}}<em class="text-danger">{{../../../empty}}</em>{{/if}}
                                    </div>
                                </div>
                            {{/each}}
                        </div>
                    </div>
                {{/each}}
            {{/each}}
            {{#if held}}
                <h4>{{heldHeading}}</h4>
                <ul>{{#each held}}<li class="text-danger">{{this}}</li>{{/each}}</ul>
            {{/if}}
            {{#if tasks}}
                <h4>{{tasksHeading}}</h4>
                <ul>{{#each tasks}}<li>{{#if isOver}}<del>{{name}}</del> ({{../over}}){{else}}{{name}}{{/if}}</li>{{/each}}</ul>
            {{/if}}
        `;

        setup() {
            const text = key => this.translate(key, 'messages', 'BitByLaw');

            this.headerText = this.translate('Preview', 'labels', 'CBeteiligte') + ' · ' + this.options.name;

            if (this.options.maySync) {
                this.buttonList.push({
                    name: 'sync',
                    text: this.translate('Sync Now', 'labels', 'CBeteiligte'),
                    style: 'primary',
                    onClick: () => {
                        this.trigger('sync');
                        this.close();
                    },
                });
            }

            this.buttonList.push({name: 'cancel', label: 'Close', onClick: () => this.close()});

            this.texts = {
                note: text('previewNote'),
                nothing: text('previewNothing'),
                heldHeading: text('previewHeld'),
                tasksHeading: text('previewTasks'),
                over: text('previewTaskOver'),
                new: text('previewNew'),
                empty: text('previewEmpty'),
            };
        }

        data() {
            const answer = this.options.answer;
            const groups = ['Advoware', 'EspoCRM']
                .map(system => ({
                    heading: this.translate('previewIn' + system, 'messages', 'BitByLaw'),
                    changes: answer.changes.filter(change => change.system === system),
                }))
                .filter(group => group.changes.length);

            return {
                ...this.texts,
                groups: groups,
                held: answer.held,
                tasks: answer.tasks,
                isNothing: !groups.length && !answer.held.length,
            };
        }
    };
});
