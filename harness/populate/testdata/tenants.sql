create table tenants (id int primary key);
create table users (tenant int references tenants, id int, primary key (tenant, id));
create table projects (tenant int references tenants, id int, owner int not null, primary key (tenant, id), foreign key (tenant, owner) references users);
create table tasks (tenant int not null, project int not null, assignee int, title text not null, foreign key (tenant, project) references projects, foreign key (tenant, assignee) references users);
